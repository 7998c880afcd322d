"""Order is compared between values of one type, or the question is refused."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.ordering import Comparison, Kind, comparisons_in
from spiffe_mcp.policy.source import read_modules
from spiffe_mcp.strict_json import JsonObject, JsonValue

DATA: JsonObject = {"limits": {"rows": 10, "name": "m", "list": [1]}}


def found(body: str) -> list[Comparison]:
    """The comparisons of one rule."""
    modules = read_modules({"a.rego": f"package p\nok if {{\n  {body}\n}}"}, set[str]().__contains__)
    return list(comparisons_in(modules[0], DATA))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("input.a.b <= 100", Comparison((("a", "b"),), Kind.NUMBER)),
        ("100.5e1 > input.a", Comparison((("a",),), Kind.NUMBER)),
        ("not input.a < 1", Comparison((("a",),), Kind.NUMBER)),
        ('input.a >= "m"', Comparison((("a",),), Kind.TEXT)),
        ("input.a >= `m`", Comparison((("a",),), Kind.TEXT)),
        ("input.a < input.b", Comparison((("a",), ("b",)), None)),
        ("input.a < data.limits.rows", Comparison((("a",),), Kind.NUMBER)),
        ("data.limits.name < input.a", Comparison((("a",),), Kind.TEXT)),
        ("count(input.a) < 3", Comparison((), Kind.NUMBER)),
        ("3 > count(f(input.a, [1]))\n}\nf(x, y) := x if { true", Comparison((), Kind.NUMBER)),
        ("input.a < floor(input.b)", Comparison((("a",),), Kind.NUMBER)),
        ("lower(input.a) < input.b", Comparison((("b",),), Kind.TEXT)),
        ("input.a < 3; input.z == 1", Comparison((("a",),), Kind.NUMBER)),
        ("x := input.a < 3 # input.b < 1", Comparison((("a",),), Kind.NUMBER)),
    ],
)
def test_each_comparison_is_found_with_the_type_it_needs(body: str, expected: Comparison) -> None:
    """Literals, data and calls give the type; paths have to have it."""
    assert found(body) == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "x := input.a; x < 3",
        "3 < x",
        "input < 3",
        "input.a[0] < 3",
        "3 < input.a[0]",
        "input.a * 2 < 3",
        "2 * input.a < 3",
        "3 < input.a + 1",
        "3 < count(input.a) - input.b",
        "(input.a) < 3",
        "f(input.a) < 3",
        "[input.a] < [3]",
        "{1} < input.a",
        'input.a["b"] < 3',
        "input.a < true",
        "input.a < data.limits.list",
        "input.a < data.limits.absent",
        "input.a < data.limits",
        '3 < "a"',
        'count(input.a) < "3"',
        "object.get(input.a, 1, 2) < 3",
        "3 <",
        "< 3",
    ],
)
def test_a_comparison_whose_types_cannot_be_told_is_refused_with_its_line(body: str) -> None:
    """Fail closed, when the policy is compiled."""
    with pytest.raises(Refused) as caught:
        found(body + "\n}\nf(x) := x if { true")
    assert caught.value.reason is Reason.POLICY_INVALID
    assert caught.value.detail.startswith("a.rego:3: ")


NOT_NUMBERS: list[JsonValue] = ["1", "", None, True, [], [1], {}, {"b": 1}]
NOT_TEXTS: list[JsonValue] = [1, 0.5, None, False, ["a"], {}]
NOT_ORDERED: list[JsonValue] = [None, True, [], {}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((Kind.NUMBER, value) for value in NOT_NUMBERS),
        *((Kind.TEXT, value) for value in NOT_TEXTS),
        *((None, value) for value in NOT_ORDERED),
    ],
)
def test_a_value_of_another_type_refuses_the_question(kind: Kind | None, value: JsonValue) -> None:
    """The detail names the path, and not the value."""
    with pytest.raises(Refused) as caught:
        Comparison((("a", "b"),), kind).check({"a": {"b": value}})
    assert (caught.value.reason, caught.value.detail) == (Reason.POLICY_INPUT_TYPE, "input.a.b")


def test_two_paths_have_to_agree() -> None:
    """Numbers with numbers, texts with texts."""
    comparison = Comparison((("a",), ("b",)), None)
    comparison.check({"a": 1, "b": 0.5})
    comparison.check({"a": "x", "b": "y"})
    with pytest.raises(Refused) as caught:
        comparison.check({"a": 1, "b": "1"})
    assert caught.value.detail == "input.b"


@pytest.mark.parametrize("document", [{}, {"a": {}}, {"a": 1}, {"a": [1]}, {"a": {"b": 7}}])
def test_absent_values_and_values_of_the_type_pass(document: JsonObject) -> None:
    """What is absent is undefined to Rego, which no order makes true."""
    Comparison((("a", "b"),), Kind.NUMBER).check(document)
