"""Server-sent events, incrementally: chunks in, whole events with their exact bytes out (WHATWG HTML 9.2.6).

Every byte that enters leaves in the `raw` of some event, in order, except an event that the stream's end
cut off. Stricter than the standard, on purpose: a line that another reader could take for a `data` line is
refused. Such readers exist: some split lines where Unicode does (U+2028, U+0085, form feed), some trim
names, some drop byte order marks anywhere. Lines of `data` need no such rule: what they carry has to be
strict JSON, where such characters stand only inside strings, and no part of a JSON text that begins inside
one of its strings is a JSON-RPC message.

This module knows the stream format, not what the data means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.errors import Reason, Refused

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024

_LINE_ENDS: Final = (b"\n", b"\r")
_BOM: Final = b"\xef\xbb\xbf"
# NUL, and what `str.splitlines` splits at: vertical tab, form feed, FS, GS, RS, NEL, U+2028, U+2029; and BOM.
_AMBIGUOUS: Final = re.compile(rb"[\x00\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf")
_OTHER_FIELDS: Final = frozenset({b"event", b"id", b"retry"})


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes that belong together. `data` is None where none is carried: comments, bare IDs.

    `id`: whoever has read the event may ask for what comes after it, by `Last-Event-ID`; empty forgets that.
    """

    raw: bytes
    data: bytes | None
    id: bytes | None = None


class SseDecoder:
    """`feed` it what arrives; it returns what is complete. At most `max_event_bytes` are ever held back."""

    __slots__ = ("_after_cr", "_data", "_head", "_id", "_in_event", "_lines", "_max", "_partial", "_size")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._head: bytes | None = b""  # the first bytes, until they can be told from a byte order mark
        self._partial = bytearray()  # the line that has no end yet
        self._lines: list[bytes] = []  # the pending event's whole lines
        self._data: list[bytes] = []  # the pending event's data lines
        self._id: bytes | None = None  # the pending event's ID
        self._size = 0  # of the pending event and the partial line
        self._in_event = False  # whether the pending event has a field yet
        self._after_cr = False  # whether a line feed that comes next belongs to the line before

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes; raises `Refused`: `SSE_TOO_LARGE`, `SSE_MALFORMED`."""
        if self._head is not None:
            chunk = self._skip_bom(self._head + chunk)
        events: list[Event] = []
        for piece in _pieces(chunk):
            self._take(piece, events)
        return events

    def _skip_bom(self, head: bytes) -> bytes:
        """What follows a leading byte order mark; nothing while too little has come to tell."""
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        if not head.startswith(_BOM):
            return head
        self._lines.append(_BOM)
        return head[len(_BOM) :]

    def _take(self, piece: bytes, events: list[Event]) -> None:
        self._size += len(piece)
        if self._size > self._max:
            raise Refused(Reason.SSE_TOO_LARGE, f"at most {self._max} bytes")
        ends_crlf, self._after_cr = self._after_cr and piece == b"\n", False
        if ends_crlf:
            self._end_crlf(events)
            return
        if not piece.endswith(_LINE_ENDS):
            self._partial += piece
            return
        self._after_cr = piece.endswith(b"\r")
        line = piece
        if self._partial:
            line, self._partial = bytes(self._partial + piece), bytearray()
        self._lines.append(line)
        self._end_line(line.rstrip(b"\r\n"), events)

    def _end_crlf(self, events: list[Event]) -> None:
        """Give the line feed of a CRLF that the network cut in two to the line it ends."""
        self._lines.append(b"\n")
        if not self._in_event:
            self._emit(None, events)

    def _end_line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            self._emit(b"\n".join(self._data) if self._data else None, events)
        elif line.startswith(b":"):
            _refuse_ambiguous(line)
            # A keep-alive before an event passes at once; a comment inside one stays where it stands.
            if not self._in_event:
                self._emit(None, events)
        else:
            self._in_event = True
            self._field(line)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name in _OTHER_FIELDS:
            _refuse_ambiguous(line)
            if name == b"id":  # the last one counts; one with a NUL in it, which would not, was refused
                self._id = value.removeprefix(b" ")
        else:
            # The standard ignores unknown fields; a reader that trims or folds names may not.
            raise Refused(Reason.SSE_MALFORMED, "an unknown field")

    def _emit(self, data: bytes | None, events: list[Event]) -> None:
        events.append(Event(b"".join(self._lines), data, self._id))
        self._lines = []
        self._data = []
        self._size = 0
        self._in_event = False
        self._id = None


def _pieces(chunk: bytes) -> Iterator[bytes]:
    """`chunk` in lines, each with its end, as the standard has them: CR, LF or CRLF.

    `bytes.splitlines` does just that, byte by byte (`str.splitlines` splits at more). Most streams have line
    feeds alone and long lines, where to look for the next one takes a tenth of the time.
    """
    if b"\r" in chunk:
        yield from chunk.splitlines(keepends=True)
        return
    start = 0
    while end := chunk.find(b"\n", start) + 1:
        yield chunk[start:end]
        start = end
    if start < len(chunk):
        yield chunk[start:]


def encode(data: bytes, template: Event) -> bytes:
    """The bytes of `template`, which carries data, with `data` in its place; every other line stays.

    The data stands where its last line stood: were a later line left out, the CR of the line before it and
    the LF of an empty line after it could become one line end.
    """
    mark = _BOM if template.raw.startswith(_BOM) else b""
    lines = template.raw.removeprefix(_BOM).splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if _is_data(line))
    end = lines[last][len(lines[last].rstrip(b"\r\n")) :]
    before = (line for line in lines[:last] if not _is_data(line))
    written = (b"data: " + line + end for line in data.splitlines())
    return mark + b"".join((*before, *written, *lines[last + 1 :]))


def without_data(event: Event) -> bytes:
    """The bytes of `event` without what it carries: a reader takes note of its ID, and dispatches nothing.

    Every line ends alike, so that no end can become half of another.
    """
    mark = _BOM if event.raw.startswith(_BOM) else b""
    lines = event.raw.removeprefix(_BOM).splitlines()
    return mark + b"".join(line + b"\n" for line in lines if not _is_data(line))


def _is_data(line: bytes) -> bool:
    return line.rstrip(b"\r\n").partition(b":")[0] == b"data"


def _refuse_ambiguous(line: bytes) -> None:
    if _AMBIGUOUS.search(line):
        raise Refused(Reason.SSE_MALFORMED, "a character that some readers take for the end of a line")
