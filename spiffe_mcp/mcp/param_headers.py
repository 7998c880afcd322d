"""Headers that mirror a tool's arguments: which ones a tool's schema declares, and what they say of a call.

A property with `x-mcp-header: Region` is mirrored in `Mcp-Param-Region` (2026-07-28 streamable-http, "Custom
Headers"), so that whoever routes by headers need not read the body. Whoever reads the body decides by the
body alone: a mirror is computed from it here, and never believed.

Enters: a tool's `inputSchema` and the arguments of a call. Leaves: header names, and their values. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.headers import Headers, decode, encode
from spiffe_mcp.strict_json import JsonObject, JsonValue

PREFIX: Final = b"mcp-param-"
ANNOTATION: Final = "x-mcp-header"

# Header name, lower case with its prefix → the names of the properties that lead to its argument.
Declared: TypeAlias = Mapping[bytes, tuple[str, ...]]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_TYPES: Final = ("string", "integer", "boolean")  # a number has more than one spelling
# JSON Schema 2020-12, the keywords whose values are schemas, lists of schemas, or schemas by name. `default`,
# `const`, `enum` and `examples` are data: an annotation in there is none.
_APPLICATORS: Final = frozenset(
    {
        *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames"),
        *("unevaluatedProperties", "not", "if", "then", "else", "contentSchema"),
        *("allOf", "anyOf", "oneOf", "prefixItems"),
    }
)
_BY_NAME: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def declared(schema: JsonObject) -> Declared:
    """The headers that a tool's `inputSchema` declares.

    Raises `Refused(MCP_PARAM_HEADER_SCHEMA)` for a declaration that breaks the rules: a client has to drop
    such a tool. It stands at a property that plain `properties` lead to, of type string, integer or boolean;
    it is a token, and no other one in the schema differs from it in case alone.
    """
    found: dict[bytes, tuple[str, ...]] = {}
    for path, position in _positions(schema):
        if ANNOTATION not in position:
            continue
        name = _name(path, position)
        if name in found:
            raise Refused(Reason.MCP_PARAM_HEADER_SCHEMA, f"declared twice: {name.decode()}")
        found[name] = path or ()
    return found


def mirror(headers: Declared, arguments: JsonObject) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that a call with `arguments` carries. No argument, or null: no header."""
    values = ((name, _value(arguments, path)) for name, path in headers.items())
    return tuple((name, encode(value)) for name, value in values if value is not None)


def check_mirrored(headers: Declared, arguments: JsonObject, sent: Headers) -> None:
    """Return if what was `sent` mirrors `arguments`; headers that are not declared say nothing.

    Raises `Refused(MCP_PARAM_HEADER_MISMATCH)` for one that is missing, too many, or differs. Compared is
    what a value means: one that needs no encoding may be sent encoded (streamable-http "Value Encoding").
    """
    due = {name: decode(value) for name, value in mirror(headers, arguments)}
    said = {name: decode(value.strip(b" \t")) for name, value in sent if name in headers}
    if due != said:
        wrong = min(name for name in due.keys() | said.keys() if due.get(name) != said.get(name))
        raise Refused(Reason.MCP_PARAM_HEADER_MISMATCH, ascii(wrong.decode("latin-1")[:80]))


def _name(path: tuple[str, ...] | None, position: JsonObject) -> bytes:
    name = position[ANNOTATION]
    if not path:
        raise Refused(Reason.MCP_PARAM_HEADER_SCHEMA, "not at a property of plain objects")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise Refused(Reason.MCP_PARAM_HEADER_SCHEMA, f"no token, at {'.'.join(path)[:80]!a}")
    if position.get("type") not in _TYPES:
        raise Refused(Reason.MCP_PARAM_HEADER_SCHEMA, f"type, at {'.'.join(path)[:80]!a}")
    return PREFIX + name.lower().encode()


def _positions(schema: JsonObject) -> Iterator[tuple[tuple[str, ...] | None, JsonObject]]:
    """Every place in `schema` that is a schema, with the path of properties to it; None if others lead there.

    References are not followed: where they lead is walked as what it is.
    """
    pending: list[tuple[tuple[str, ...] | None, JsonValue]] = [((), schema)]
    while pending:
        path, position = pending.pop()
        if not isinstance(position, dict):
            continue
        yield path, position
        for name, property_ in _members(position.get("properties")):
            pending.append((None if path is None else (*path, name), property_))
        pending.extend((None, inner) for inner in _inner(position))


def _inner(position: JsonObject) -> Iterable[JsonValue]:
    for keyword, value in position.items():
        if keyword in _APPLICATORS:
            yield from value if isinstance(value, list) else (value,)
        elif keyword in _BY_NAME:
            yield from (member for _, member in _members(value))


def _members(value: JsonValue) -> Iterable[tuple[str, JsonValue]]:
    return value.items() if isinstance(value, dict) else ()


def _value(arguments: JsonObject, path: tuple[str, ...]) -> str | None:
    """The argument at `path` as its header spells it; None for one that no header can carry."""
    value: JsonValue = arguments
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
