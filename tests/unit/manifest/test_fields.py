"""Closed objects: each member asked for by name and type."""

from collections.abc import Callable

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.fields import Faults, Fields, item_path, member_path

FAULTS = Faults(Reason.MANIFEST_FIELD_UNKNOWN, Reason.MANIFEST_FIELD_MISSING, Reason.MANIFEST_FIELD_INVALID)
RECORD = Fields.of(
    {
        "text": "",
        "flag": 1,
        "count": True,
        "float": 5.0,
        "list": "ab",
        "mixed": ["a", 1],
        "twice": ["a", "a"],
    },
    "$",
    FAULTS,
    required={"text", "flag", "count", "float", "list", "mixed", "twice"},
)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: RECORD.text("text"),
        lambda: RECORD.text("flag"),
        lambda: RECORD.text("list", at_most=1),
        lambda: RECORD.boolean("flag"),
        lambda: RECORD.integer("count", at_least=0, at_most=9),
        lambda: RECORD.integer("float", at_least=0, at_most=9),
        lambda: RECORD.integer("flag", at_least=2, at_most=9),
        lambda: RECORD.integer("flag", at_least=-9, at_most=0),
        lambda: RECORD.array("list"),
        lambda: RECORD.texts("mixed"),
        lambda: RECORD.texts("twice"),
        lambda: Fields.of([], "$", FAULTS, required=set()),
    ],
)
def test_a_value_of_another_type_or_size_is_invalid(ask: Callable[[], object]) -> None:
    with pytest.raises(Refused) as refusal:
        ask()

    assert refusal.value.reason is Reason.MANIFEST_FIELD_INVALID


def test_a_member_too_many_is_refused_with_its_path() -> None:
    with pytest.raises(Refused) as refusal:
        Fields.of({"a": 1, "b": 2}, "$.x", FAULTS, required={"a"})

    assert (refusal.value.reason, refusal.value.detail) == (Reason.MANIFEST_FIELD_UNKNOWN, "$.x.b")


def test_a_member_too_few_is_refused_with_its_path() -> None:
    with pytest.raises(Refused) as refusal:
        Fields.of({"a": 1}, "$.x", FAULTS, required={"a", "b"}, optional={"c"})

    assert (refusal.value.reason, refusal.value.detail) == (Reason.MANIFEST_FIELD_MISSING, "$.x.b")


def test_a_path_escapes_and_bounds_what_a_stranger_named() -> None:
    path = member_path(item_path("$", 3), "a\n\x1b" + "x" * 500)

    assert path.startswith("$[3]['a\\n\\x1b")
    assert len(path) < 100
