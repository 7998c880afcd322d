"""What a tool definition must be before it can be signed, and before a signature on it counts.

Enters: a tool object as a server lists it, unknown fields included. Leaves: nothing, or a refusal; and the
one normal form that signing and live comparison share. Definitions stay raw JSON: a field that a data model
drops is a field that can be changed unseen.

Pure. It knows MCP's Tool, nothing of manifests around it.
"""

from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.fields import item_path, member_path
from spiffe_mcp.manifest.text import check_text, check_texts, check_tool_name
from spiffe_mcp.strict_json import JsonObject, JsonValue

# MCP 2025-11-25 and 2026-07-28, schema of Tool. One member of the wrong type makes SDK clients drop the
# server's whole list.
_MEMBER_TYPES: Final[dict[str, type]] = {
    "title": str,
    "description": str,
    "inputSchema": dict,
    "outputSchema": dict,
    "annotations": dict,
    "icons": list,
    "execution": dict,
    "_meta": dict,
}
_REQUIRED: Final = frozenset({"name", "inputSchema"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def normalized(definition: JsonObject) -> JsonObject:
    """`definition` with `null` for "absent" left out, where MCP makes the two mean the same.

    That is: optional members of Tool, and members of `annotations`. Anywhere else null is a value (a schema's
    `"default": null`), and a null in a field nobody knows is a field that is there.
    """
    kept = {key: value for key, value in definition.items() if value is not None or not _is_optional(key)}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if value is not None}
    return kept


def check_definition(definition: JsonObject, path: str) -> None:
    """Return if `definition` may stand in a manifest.

    Raises `Refused`: `MANIFEST_TOOL_NAME`, `MANIFEST_NULL` (not in its normal form), `MANIFEST_DEFINITION`
    (a member of the wrong type), `MANIFEST_TEXT`, `MANIFEST_REFERENCE`.
    """
    check_tool_name(definition.get("name"), member_path(path, "name"))
    if normalized(definition) != definition:
        raise Refused(Reason.MANIFEST_NULL, f"{path}: null for a member that is absent")
    if "inputSchema" not in definition:
        raise Refused(Reason.MANIFEST_DEFINITION, f"{path}.inputSchema: absent")
    for key, kind in _MEMBER_TYPES.items():
        if key in definition and not isinstance(definition[key], kind):
            raise Refused(Reason.MANIFEST_DEFINITION, f"{member_path(path, key)}: of the wrong type")
    for key, value in definition.items():
        check_text(key, f"{path}, a member's name")
        check_texts(value, member_path(path, key))
    for key in ("inputSchema", "outputSchema"):
        _check_references(definition.get(key), member_path(path, key))


def _is_optional(key: str) -> bool:
    return key in _MEMBER_TYPES and key not in _REQUIRED


def _check_references(schema: JsonValue, path: str) -> None:
    """Refuse references that leave the schema: what they name was not signed."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
                raise Refused(Reason.MANIFEST_REFERENCE, member_path(path, key))
            _check_references(value, member_path(path, key))
    elif isinstance(schema, list):
        for index, item in enumerate(schema):
            _check_references(item, item_path(path, index))
