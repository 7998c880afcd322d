"""Single members of a JSON text, found and replaced where they stand; every other byte stays as it is.

The text has been parsed (`mcp.message.parse`), so it is strict JSON with unique keys; where it is not, these
functions find something or nothing, and end. A parser that wrote the text anew would change numbers, blanks
and the order of what it does not know. Pure.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

_STRING: Final = rb'"(?:[^"\\]|\\.)*+"'
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_KEY: Final = re.compile(rb"[ \t\r\n,]*(" + _STRING + rb")[ \t\r\n]*:[ \t\r\n]*", re.DOTALL)
_SCALAR: Final = re.compile(rb"(?:" + _STRING + rb"|[^ \t\r\n,\]}\[{\"]++)", re.DOTALL)
# All up to the next bracket, strings whole.
_FLAT: Final = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL)
# The last member of the outermost object: it ends where the document does, and begins inside no string.
_LAST_ID: Final = re.compile(rb'[,{][ \t\r\n]*"id"[ \t\r\n]*:[ \t\r\n]*(-?[0-9]+)[ \t\r\n]*\}[ \t\r\n]*\Z')
_TAIL: Final = 128  # bytes in which such a member is looked for


class Span(NamedTuple):
    """Where a value stands: from `start` up to `end`."""

    start: int
    end: int

    def of(self, document: bytes) -> bytes:
        """The value as it is written."""
        return document[self.start : self.end]


def locate(document: bytes, *path: str) -> Span | None:
    """Where the value under `path` stands, key by key from the outermost object; None if it is not there."""
    span = Span(_BLANK.match(document).end(), len(document))  # type: ignore[union-attr]  # it matches nothing, too
    for key in path:
        found = _member(document, span.start, key)
        if found is None:
            return None
        span = found
    return span


def locate_id(document: bytes) -> Span | None:
    """As `locate(document, "id")`: also where it is a number behind a large result, found without a walk."""
    last = _LAST_ID.search(document, max(0, len(document) - _TAIL))
    return Span(*last.span(1)) if last is not None else locate(document, "id")


def replace(document: bytes, replacements: Iterable[tuple[Span, bytes]]) -> bytes:
    """`document` with other values in these places, which do not overlap."""
    pieces, at = [], 0
    for span, value in sorted(replacements):
        pieces += [document[at : span.start], value]
        at = span.end
    return b"".join((*pieces, document[at:]))


def _member(document: bytes, start: int, key: str) -> Span | None:
    """The value of `key` in the object that begins at `start`, if one does."""
    if document[start : start + 1] != b"{":
        return None
    at = start + 1
    while (name := _KEY.match(document, at)) is not None:
        end = _end(document, name.end())
        if end is None:
            return None
        if orjson.loads(name[1]) == key:
            return Span(name.end(), end)
        at = end
    return None


def _end(document: bytes, start: int) -> int | None:
    """Where the value that begins at `start` ends."""
    if document[start : start + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(document, start)
        return None if scalar is None else scalar.end()
    depth, at = 1, start + 1
    while depth:
        at = _FLAT.match(document, at).end() + 1  # type: ignore[union-attr]  # it matches nothing, too
        bracket = document[at - 1 : at]
        if not bracket:
            return None
        depth += 1 if bracket in b"{[" else -1
    return at
