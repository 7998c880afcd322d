"""Definitions: what may be signed, and the one normal form."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.definition import check_definition, normalized
from spiffe_mcp.strict_json import JsonObject, JsonValue
from tests.fakes.publisher import tools


def tool(**members: JsonValue) -> JsonObject:
    """A definition with the least it needs, and more."""
    return {"name": "t", "inputSchema": {"type": "object"}, **members}


def schema(**members: JsonValue) -> JsonObject:
    """A definition with this input schema."""
    return tool(inputSchema={"type": "object", **members})


@pytest.mark.parametrize("definition", tools())
def test_an_honest_definition_passes(definition: JsonObject) -> None:
    check_definition(definition, "$")


@pytest.mark.parametrize(
    "definition",
    [
        schema(default=None, properties={"a": {"const": None, "enum": [None]}}),
        tool(future=None),
        tool(_meta={"k": None}),
    ],
)
def test_null_that_is_a_value_is_kept(definition: JsonObject) -> None:
    check_definition(definition, "$")
    assert definition == normalized(definition)


def test_a_property_may_be_called_ref() -> None:
    check_definition(schema(properties={"$ref": {"type": "string"}}), "$")


HOSTILE: dict[str, tuple[JsonObject, Reason]] = {
    "no name": ({"inputSchema": {}}, Reason.MANIFEST_TOOL_NAME),
    "name with a newline": (tool(name="t\n"), Reason.MANIFEST_TOOL_NAME),
    "name with a Cyrillic letter": (tool(name="g\u0435t"), Reason.MANIFEST_TOOL_NAME),
    "name of zero width": (tool(name="\u200b"), Reason.MANIFEST_TOOL_NAME),
    "title null": (tool(title=None), Reason.MANIFEST_NULL),
    "annotation null": (tool(annotations={"readOnlyHint": None}), Reason.MANIFEST_NULL),
    "no input schema": ({"name": "t"}, Reason.MANIFEST_DEFINITION),
    "input schema null": (tool(inputSchema=None), Reason.MANIFEST_DEFINITION),
    "input schema an array": (tool(inputSchema=[]), Reason.MANIFEST_DEFINITION),
    "output schema true": (tool(outputSchema=True), Reason.MANIFEST_DEFINITION),
    "description a number": (tool(description=5), Reason.MANIFEST_DEFINITION),
    "title an object": (tool(title={}), Reason.MANIFEST_DEFINITION),
    "annotations an array": (tool(annotations=[]), Reason.MANIFEST_DEFINITION),
    "icons an object": (tool(icons={}), Reason.MANIFEST_DEFINITION),
    "_meta a string": (tool(_meta=""), Reason.MANIFEST_DEFINITION),
    "execution a string": (tool(execution=""), Reason.MANIFEST_DEFINITION),
    "joiner in the description": (tool(description="a\u200db"), Reason.MANIFEST_TEXT),
    "word joiner in a property's description": (
        schema(properties={"a": {"description": "a\u2060"}}),
        Reason.MANIFEST_TEXT,
    ),
    "hidden text in an enum": (schema(enum=["a\u202e"]), Reason.MANIFEST_TEXT),
    "hidden text in a property's name": (schema(properties={"a\u200b": {}}), Reason.MANIFEST_TEXT),
    "hidden text in an unknown field": (tool(future=["a\U000e0041"]), Reason.MANIFEST_TEXT),
    "hidden text in an unknown field's name": (tool(**{"a\u200b": 1}), Reason.MANIFEST_TEXT),
    "remote reference": (schema(**{"$ref": "https://evil.test/s"}), Reason.MANIFEST_REFERENCE),
    "file reference": (schema(properties={"a": {"$ref": "file:///etc/passwd"}}), Reason.MANIFEST_REFERENCE),
    "relative reference": (schema(allOf=[{"$ref": "other.json"}]), Reason.MANIFEST_REFERENCE),
    "reference with an empty scheme": (schema(**{"$ref": "//evil.test/s"}), Reason.MANIFEST_REFERENCE),
    "remote dynamic reference": (
        schema(**{"$dynamicRef": "https://evil.test/s#a"}),
        Reason.MANIFEST_REFERENCE,
    ),
    "remote recursive reference": (
        schema(**{"$recursiveRef": "https://evil.test/s"}),
        Reason.MANIFEST_REFERENCE,
    ),
    "remote reference in the output schema": (
        tool(outputSchema={"$ref": "https://evil.test/s"}),
        Reason.MANIFEST_REFERENCE,
    ),
}


@pytest.mark.parametrize(("definition", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_definition_that_may_not_be_signed_is_refused(definition: JsonObject, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        check_definition(definition, "$")

    assert refusal.value.reason is reason


def test_null_for_absent_is_left_out_at_the_top_and_in_annotations() -> None:
    listed = tool(title=None, outputSchema=None, annotations={"title": None, "readOnlyHint": True})

    assert tool(annotations={"readOnlyHint": True}) == normalized(listed)
    assert listed["title"] is None
    assert listed["annotations"] == {"title": None, "readOnlyHint": True}
