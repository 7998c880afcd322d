"""Strict JSON: bytes in, Python values out, and nothing that two parsers could read differently.

Refused: bytes that are not UTF-8, a byte order mark, duplicate keys (compared after unescaping), NaN and
infinities, numbers that a double cannot hold, lone surrogates, trailing data, documents too deep or too
large. Integers keep every digit.

The standard library's decoder with hooks is used because it shows both of two equal keys; faster parsers
silently keep the last. One of them is asked first all the same, since what it read can be proved: if the
value, written again, is the document to the last octet, then the document is one that was written from a
value, and a value has no key twice, no second spelling of a number and nothing behind it (`_as_written`).

This module knows JSON (RFC 8259, and RFC 7493 for interoperability) and nothing of who sends it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from math import isfinite
from typing import Final, NoReturn, TypeAlias

import orjson

from spiffe_mcp.errors import Reason, Refused

JsonObject: TypeAlias = dict[str, "JsonValue"]
JsonValue: TypeAlias = "JsonObject | list[JsonValue] | str | int | float | bool | None"

MAX_DEPTH: Final = 64
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_INTEGER_DIGITS: Final = 308  # sign included: more may be Infinity to a reader of doubles

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LONG: Final = 8192  # octets of a document
_BEGINNING: Final = 32  # octets in which a document shows whether it is written with blanks


def loads(document: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Parse one JSON document; raises `Refused` with the rule's own `JSON_*` reason."""
    if len(document) > max_bytes:
        raise Refused(Reason.JSON_TOO_LARGE, f"{len(document)} bytes, at most {max_bytes}")
    value = _as_written(document)
    if value is _Unproven.VALUE:
        return _decoded(document, max_depth)
    _check_depth(document, value, max_depth)
    return value


def loads_object(document: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JsonObject:
    """As `loads`, for a document that has to be an object."""
    value = loads(document, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise Refused(Reason.JSON_MALFORMED, "not an object")
    return value


class _Unproven(Enum):
    """In place of a value that was read and proves nothing."""

    VALUE = "unproven"


def _as_written(document: bytes) -> "JsonValue | _Unproven":
    """What `document` says, if it is exactly what would be written of that; `_Unproven` otherwise.

    Of two equal keys the parser keeps one, a large integer it makes a float: then less, or something else, is
    written than was read. Compact documents pass, as most programs write them; others take the longer way.
    """
    if b": " in document[:_BEGINNING]:
        return _Unproven.VALUE  # written with blanks: not worth a try
    try:
        value: JsonValue = orjson.loads(document)
        return value if orjson.dumps(value) == document else _Unproven.VALUE
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _Unproven.VALUE


def _decoded(document: bytes, max_depth: int) -> JsonValue:
    """What `document` says, by the decoder that sees everything; raises `Refused(JSON_*)`."""
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
    _check_depth(document, value, max_depth)
    # A lone surrogate can only come from an escape (raw ones are not UTF-8): most calls end here.
    if _SURROGATE_ESCAPE.search(text) and any(map(_SURROGATE.search, _strings(value))):
        raise Refused(Reason.JSON_SURROGATE)
    return value


def _check_depth(document: bytes, value: JsonValue, max_depth: int) -> None:
    # No document nests deeper than it has opening brackets: most calls end here, without a walk.
    if _opens_more(document, max_depth) and _exceeds(max_depth, value):
        raise Refused(Reason.JSON_TOO_DEEP, f"more than {max_depth} levels")


def _opens_more(document: bytes, most: int) -> bool:
    """Whether `document` may hold more than `most` opening brackets; never False where it does.

    To count looks at each octet, and to find the next one skips: that pays where there are many.
    """
    if len(document) < _LONG:
        return document.count(b"{") + document.count(b"[") > most
    return _has(document, b"{", most // 2 + 1) or _has(document, b"[", most // 2 + 1)


def _has(document: bytes, octet: bytes, times: int) -> bool:
    place = -1
    for _ in range(times):
        place = document.find(octet, place + 1)
        if place < 0:
            return False
    return True


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
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise Refused(Reason.JSON_DUPLICATE_KEY, ascii(twice[:64]))
    return unique


def _float(digits: str) -> float:
    number = float(digits)
    # A number so small that it becomes zero is as lost as one so large that it becomes infinite.
    vanished = number == 0 and digits.lstrip("-0.")[:1] not in ("", "e", "E")
    if vanished or not isfinite(number):
        raise Refused(Reason.JSON_NUMBER, "a number that a double cannot hold")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise Refused(Reason.JSON_NUMBER, f"an integer of {len(digits)} digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise Refused(Reason.JSON_NUMBER, name)


def _strings(value: JsonValue) -> Iterator[str]:
    """Every string of the document, keys included; no recursion to exhaust."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=True
)
