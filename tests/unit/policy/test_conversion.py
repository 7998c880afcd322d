"""What reaches the engine keeps its meaning, or is refused."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.conversion import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_TEXT_BYTES,
    MAX_VALUES,
    Projection,
    check,
    misfit,
    term,
)
from spiffe_mcp.strict_json import JsonObject, JsonValue


def nested(levels: int) -> JsonValue:
    """A list in a list in a list."""
    value: JsonValue = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('say "hi"', Reason.POLICY_INPUT_TEXT),
        ("back\\slash", Reason.POLICY_INPUT_TEXT),
        ("two\nlines", Reason.POLICY_INPUT_TEXT),
        ("nul\x00", Reason.POLICY_INPUT_TEXT),
        ("unit\x1f", Reason.POLICY_INPUT_TEXT),
        ("lone \ud800", Reason.POLICY_INPUT_TEXT),
        ({"k\n": 1}, Reason.POLICY_INPUT_TEXT),
        ([{"a": ["\t"]}], Reason.POLICY_INPUT_TEXT),
        (2**53, Reason.POLICY_INPUT_NUMBER),
        (-(2**53), Reason.POLICY_INPUT_NUMBER),
        (12345678901234567890123, Reason.POLICY_INPUT_NUMBER),
        (1e16, Reason.POLICY_INPUT_NUMBER),
        (5e-324, Reason.POLICY_INPUT_NUMBER),
        (-1e-310, Reason.POLICY_INPUT_NUMBER),
        (float("nan"), Reason.POLICY_INPUT_NUMBER),
        (float("inf"), Reason.POLICY_INPUT_NUMBER),
        ("a" * (MAX_TEXT_BYTES + 1), Reason.POLICY_INPUT_SIZE),
        ("é" * (MAX_TEXT_BYTES // 2 + 1), Reason.POLICY_INPUT_SIZE),
        ([[0] * 1000 for _ in range(MAX_VALUES // 1000)], Reason.POLICY_INPUT_SIZE),
        ([0] * (MAX_MEMBERS + 1), Reason.POLICY_INPUT_SIZE),
        ({str(number): 0 for number in range(MAX_MEMBERS + 1)}, Reason.POLICY_INPUT_SIZE),
        (nested(MAX_DEPTH), Reason.POLICY_INPUT_SIZE),
        (nested(100_000), Reason.POLICY_INPUT_SIZE),
    ],
    ids=lambda value: ascii(value)[:24] if not isinstance(value, list) else None,
)
def test_what_the_engine_cannot_hold_is_refused(value: JsonValue, reason: Reason) -> None:
    """Never cut, wrapped around or escaped into something else."""
    with pytest.raises(Refused) as caught:
        check({"x": value})
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "value",
    [
        *("", "plain", "é😀\u2028\ufeff", "%s %d", "'`$", "\x7f\x85", "a" * MAX_TEXT_BYTES),
        *(
            0,
            -1,
            2**53 - 1,
            1 - 2**53,
            True,
            False,
            None,
            [],
            {},
            [0] * MAX_MEMBERS,
            {"": {"": ""}},
            nested(MAX_DEPTH - 1),
        ),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_what_the_engine_can_hold_passes(value: JsonValue) -> None:
    """And is said to hold no float."""
    assert check({"x": value}) is False


@pytest.mark.parametrize("value", [0.5, 0.0, 1.0, -0.25, [[1e-7]], {"a": 9007199254740991.0}])
def test_floats_are_reported_because_they_need_the_text_form(value: JsonValue) -> None:
    """Wherever they stand."""
    assert check({"x": value}) is True


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (0, "0"),
        (1e-7, "0.0000001"),
        (-1.5, "-1.5"),
        (1.0, "1.0"),
        ("é", '"é"'),
        ([1, "a", []], '[1,"a",[]]'),
        ({"a": {"": 1}}, '{"a":{"":1}}'),
    ],
)
def test_terms_are_json_without_exponents(value: JsonValue, text: str) -> None:
    """An exponent in its data ends the engine's process."""
    assert term(value) == text


DOCUMENT: JsonObject = {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": [1], "g": {"h": 1}}


@pytest.mark.parametrize(
    ("paths", "seen"),
    [
        ([], {}),
        ([("a", "b", "c")], {"a": {"b": {"c": 1}}}),
        ([("a", "b", "c"), ("a", "b")], {"a": {"b": {"c": 1, "d": 2}}}),
        ([("a", "e"), ("a", "b", "d")], {"a": {"b": {"d": 2}, "e": 3}}),
        ([("f", "x")], {"f": [1]}),
        ([("a", "missing")], {"a": {}}),
        ([("missing",)], {}),
        ([("g",)], {"g": {"h": 1}}),
        ([(), ("a",)], DOCUMENT),
    ],
)
def test_a_projection_shows_what_is_read_and_nothing_else(
    paths: list[tuple[str, ...]], seen: JsonObject
) -> None:
    """A shorter path holds all that longer ones would narrow."""
    assert Projection.onto(paths).of(DOCUMENT) == seen


def test_the_paths_of_a_projection_can_be_shown_to_people() -> None:
    """`*` stands for all."""
    assert Projection.onto([("b",), ("a", "c"), ("b", "d")]).paths() == ("a.c", "b")
    assert Projection.onto([()]).paths() == ("*",)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"a": 1, "b": {"c": "x", "d": "\n"}}, "b.d"),
        ({"a": {"b": {"c": {"d": 2**60}}}}, "a.b"),
        ({"a": "\n"}, "a"),
        ({"a": {"b\n": 1}}, "a['b\\n']"),
        ({"a": {f"k{number}": 1 for number in range(MAX_VALUES)}}, "a"),
        ({f"k{number}": 1 for number in range(MAX_VALUES)}, "the whole"),
    ],
    ids=["member", "deeper", "top", "name", "many", "too many at the top"],
)
def test_what_does_not_fit_is_named_by_its_path(document: JsonObject, path: str) -> None:
    """Never by its value: an operator has to find the parameter, not read it."""
    assert misfit(document) == path
