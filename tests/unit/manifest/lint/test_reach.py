"""What a schema admits that nobody foresaw."""

import pytest

from spiffe_mcp.manifest.lint import Rule
from spiffe_mcp.manifest.lint.reach import check_reach
from spiffe_mcp.strict_json import JsonObject, JsonValue

CLOSED: JsonObject = {"type": "object", "additionalProperties": False}

ANY: JsonValue = True
ROWS: JsonValue = {"type": "array", "items": {"type": "object"}}


def broken(schema: JsonValue) -> list[tuple[Rule, str]]:
    """The rules that `schema` breaks, and where."""
    return [(finding.rule, finding.place) for finding in check_reach(schema, "$")]


def with_member(name: str, schema: JsonValue) -> JsonValue:
    """A closed object with one member."""
    return CLOSED | {"properties": {name: schema}}


@pytest.mark.parametrize(
    ("schema", "rule", "place"),
    [
        ({"type": "object"}, Rule.OPEN_OBJECT, "$"),
        (CLOSED | {"additionalProperties": True}, Rule.OPEN_OBJECT, "$"),
        (CLOSED | {"additionalProperties": {}}, Rule.OPEN_OBJECT, "$"),
        (with_member("filter", {"type": "object"}), Rule.OPEN_OBJECT, "$.properties.filter"),
        (with_member("value", {}), Rule.ANY_VALUE, "$.properties.value"),
        (with_member("value", ANY), Rule.ANY_VALUE, "$.properties.value"),
        (with_member("value", {"description": "Anything."}), Rule.ANY_VALUE, "$.properties.value"),
        (with_member("command", {"type": "string"}), Rule.FREE_COMMAND, "$.properties.command"),
        (with_member("SQL", {"type": "string"}), Rule.FREE_COMMAND, "$.properties.SQL"),
        (CLOSED | {"anyOf": [{"type": "object"}]}, Rule.OPEN_OBJECT, "$.anyOf[0]"),
        (CLOSED | {"$defs": {"x": {"type": "object"}}}, Rule.OPEN_OBJECT, "$.$defs.x"),
        (with_member("rows", ROWS), Rule.OPEN_OBJECT, "$.properties.rows.items"),
    ],
)
def test_a_wide_schema_is_found_where_it_is_wide(schema: JsonValue, rule: Rule, place: str) -> None:
    assert broken(schema) == [(rule, place)]


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        {"type": "object", "unevaluatedProperties": False},
        {"type": "object", "additionalProperties": {"type": "string"}},
        with_member("city", {"type": "string"}),
        with_member("command", {"enum": ["start", "stop"]}),
        with_member("query", {"type": "string", "maxLength": 80}),
        with_member("path", {"$ref": "#/$defs/path"}),
    ],
)
def test_a_narrow_schema_breaks_no_rule(schema: JsonValue) -> None:
    assert broken(schema) == []
