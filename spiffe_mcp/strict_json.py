"""Strict JSON: bytes in, Python values out, and nothing that two parsers could read differently.

Refused: bytes that are not UTF-8, a byte order mark, duplicate keys (compared after unescaping), NaN and
infinities, numbers that a double cannot hold, lone surrogates, trailing data, documents too deep or too
large. Integers keep every digit. The standard library's decoder with hooks is used because it shows both of
two equal keys; faster parsers silently keep the last.

This module knows JSON (RFC 8259, and RFC 7493 for interoperability) and nothing of who sends it.
"""

import json
from collections.abc import Iterable
from math import isfinite
from typing import Final, NoReturn, TypeAlias

from spiffe_mcp.errors import Reason, Refused

JsonObject: TypeAlias = dict[str, "JsonValue"]
JsonValue: TypeAlias = "JsonObject | list[JsonValue] | str | int | float | bool | None"

MAX_DEPTH: Final = 64
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_INTEGER_DIGITS: Final = 400


def loads(document: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Parse one JSON document; raises `Refused` with the rule's own `JSON_*` reason."""
    if len(document) > max_bytes:
        raise Refused(Reason.JSON_TOO_LARGE, f"{len(document)} bytes, at most {max_bytes}")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.JSON_NOT_UTF8, f"byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise Refused(Reason.JSON_NOT_UTF8, "byte order mark")
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refused(Reason.JSON_MALFORMED, f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Refused(Reason.JSON_TOO_DEEP, f"more than {max_depth} levels") from None
    # No document nests deeper than it has opening brackets: most calls end here, without a walk.
    if document.count(b"{") + document.count(b"[") > max_depth and _exceeds(max_depth, value):
        raise Refused(Reason.JSON_TOO_DEEP, f"more than {max_depth} levels")
    # A lone surrogate can only come from a \\u escape: raw ones are not UTF-8.
    if "\\u" in text:
        _refuse_surrogates(value)
    return value


def loads_object(document: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JsonObject:
    """As `loads`, for a document that has to be an object."""
    value = loads(document, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise Refused(Reason.JSON_MALFORMED, "not an object")
    return value


def _exceeds(max_depth: int, value: JsonValue) -> bool:
    """Whether containers nest deeper than `max_depth`, found level by level: no recursion to exhaust."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_depth):
        children = (child for parent in level for child in _members(parent))
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _members(container: JsonObject | list[JsonValue]) -> Iterable[JsonValue]:
    return container.values() if isinstance(container, dict) else container


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key) is not None)
        raise Refused(Reason.JSON_DUPLICATE_KEY, repr(twice[:64]))
    return unique


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise Refused(Reason.JSON_NUMBER, "a number that a double cannot hold")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise Refused(Reason.JSON_NUMBER, f"an integer of {len(digits)} digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise Refused(Reason.JSON_NUMBER, name)


def _refuse_surrogates(value: JsonValue) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused(Reason.JSON_SURROGATE)
    elif isinstance(value, dict):
        for key, member in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(member)
    elif isinstance(value, list):
        for member in value:
            _refuse_surrogates(member)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=True
)
