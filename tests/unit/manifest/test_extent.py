"""Schemas that are small on paper and endless when their references are written out."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.extent import MAX_OTHER_REFERENCES, MAX_PARTS, check_extent
from spiffe_mcp.strict_json import JsonObject, JsonValue


def to(name: str) -> JsonObject:
    """A reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def doubling(levels: int, keyword: str = "allOf") -> JsonObject:
    """Definitions of which each names the next one twice."""
    definitions: JsonObject = {f"d{n}": {keyword: [to(f"d{n + 1}"), to(f"d{n + 1}")]} for n in range(levels)}
    return {**to("d0"), "$defs": {**definitions, f"d{levels}": {"type": "object"}}}


def beside(schema: JsonObject, key: str) -> JsonObject:
    """`schema`, rebased or anchored somewhere."""
    return {**schema, "properties": {"x": {key: "here"}}}


ANCHORED: JsonObject = {
    "$ref": "#a0",
    "$defs": {f"d{n}": {"$anchor": f"a{n}", "allOf": [{"$ref": f"#a{n + 1}"}] * 2} for n in range(9)},
}
RECURSIVE: JsonObject = {
    "properties": {"and": {"items": {"$ref": "#"}}, "or": {"items": {"$ref": "#"}}, "not": {"$ref": "#"}}
}
FLAT: JsonObject = {
    "properties": {f"p{n}": to(f"d{n % 20}") for n in range(200)},
    "$defs": {f"d{n}": {"enum": ["a", "b"]} for n in range(20)},
}


@pytest.mark.parametrize(
    "schema", [{}, FLAT, RECURSIVE, doubling(8), {"$ref": "#"}, {"$id": "urn:x", **to("a")}]
)
def test_schemas_as_people_write_them_pass(schema: JsonObject) -> None:
    check_extent(schema, "tool")


@pytest.mark.parametrize(
    "schema",
    [
        doubling(30),
        doubling(30, "anyOf"),
        doubling(2000),
        {"properties": {"a": doubling(0), "b": to("d0")}, "$defs": doubling(30)["$defs"]},
        ANCHORED,
        beside(doubling(9), "$id"),
        beside(doubling(9), "$anchor"),
        beside(doubling(9), "$dynamicAnchor"),
        {"$defs": {f"d{n}": {"$dynamicRef": "#x"} for n in range(MAX_OTHER_REFERENCES + 1)}},
    ],
)
def test_schemas_that_explode_are_refused(schema: JsonObject) -> None:
    with pytest.raises(Refused) as refusal:
        check_extent(schema, "tool")

    assert refusal.value.reason is Reason.MANIFEST_SCHEMA_INVALID


def test_a_recursion_through_which_all_else_doubles_is_refused() -> None:
    schema = doubling(30)
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    definitions["d30"] = {"properties": {"again": to("d0")}}

    with pytest.raises(Refused):
        check_extent(schema, "tool")


def test_pointers_are_unescaped() -> None:
    """A doubling found only behind percent signs, tildes and array indices."""
    inner = doubling(20)
    definitions: JsonObject = {**(inner["$defs"] if isinstance(inner["$defs"], dict) else {})}
    definitions["a/b~d"] = {"allOf": [{}, to("d0")]}
    hidden: JsonValue = {"$ref": "#/%24defs/a~1b~0d/allOf/1", "$defs": definitions}
    assert isinstance(hidden, dict)

    with pytest.raises(Refused):
        check_extent(hidden, "tool")


def test_the_limit_is_the_written_out_size() -> None:
    check_extent({"enum": [[] for _ in range(MAX_PARTS - 2)]}, "tool")

    with pytest.raises(Refused):
        check_extent({"enum": [[] for _ in range(MAX_PARTS - 1)]}, "tool")
