"""How much a tool's input schema admits: the wider, the more a poisoned call can carry.

Enters: an input schema as JSON. Leaves: findings. References are not followed, what they name is inspected
where it stands. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final

from spiffe_mcp.manifest.fields import item_path, member_path
from spiffe_mcp.manifest.lint.finding import Finding, Rule
from spiffe_mcp.strict_json import JsonObject, JsonValue

_COMMAND: Final = re.compile(
    r"^(?:cmd|command|shell|script|code|sql|query|expression|eval|exec|args|argv|path|file|filename|url|uri)$",
    re.IGNORECASE,
)
# Keywords that narrow a string to something a reviewer can imagine.
_NARROWING_TEXT: Final = frozenset({"enum", "const", "pattern", "maxLength", "format", "$ref"})
# Keywords that say what a value is (JSON Schema 2020-12, validation and applicator vocabularies).
_SAYING: Final = frozenset(
    {"type", "enum", "const", "$ref", "$dynamicRef", "anyOf", "oneOf", "allOf", "not", "if", "properties"}
)
_SCHEMA_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def check_reach(schema: JsonValue, place: str, name: str = "") -> Iterator[Finding]:
    """Where `schema` admits more than a reviewer can foresee; `name` is the member it is the schema of."""
    if schema is True or schema == {}:
        yield Finding.at(Rule.ANY_VALUE, place, name or "true")
    if not isinstance(schema, dict):
        return
    if schema and not _SAYING & schema.keys() and name:
        yield Finding.at(Rule.ANY_VALUE, place, name)
    if _is_open(schema):
        yield Finding.at(Rule.OPEN_OBJECT, place, name or "the arguments")
    if schema.get("type") == "string" and _COMMAND.match(name) and not _NARROWING_TEXT & schema.keys():
        yield Finding.at(Rule.FREE_COMMAND, place, name)
    for child, child_place, child_name in _children(schema, place):
        yield from check_reach(child, child_place, child_name)


def _is_open(schema: JsonObject) -> bool:
    """Whether an object may have members that its schema does not name."""
    if schema.get("type") != "object" or "$ref" in schema:
        return False
    further = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    return further is True or further == {}


def _children(schema: JsonObject, place: str) -> Iterator[tuple[JsonValue, str, str]]:
    """(schema, place, name of the member it describes) for each schema directly inside `schema`."""
    for keyword in _SCHEMA_MAPS:
        members = schema.get(keyword)
        for name, child in members.items() if isinstance(members, dict) else ():
            yield child, member_path(member_path(place, keyword), name), name
    for keyword in _SCHEMA_LISTS:
        items = schema.get(keyword)
        for index, child in enumerate(items if isinstance(items, list) else ()):
            yield child, item_path(member_path(place, keyword), index), ""
    for keyword in _SCHEMAS:
        # Open by an empty schema is open: said once, of the object.
        if isinstance(child := schema.get(keyword), dict) and (child or keyword != "additionalProperties"):
            yield child, member_path(place, keyword), ""
