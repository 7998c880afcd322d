"""The stdio transport's framing: a stream of bytes in, whole lines out, one JSON-RPC message in each.

"Messages are delimited by newlines, and MUST NOT contain embedded newlines" (2025-11-25 basic/transports
"stdio", 2026-07-28 basic/transports/stdio). What a line says is read elsewhere (`message.parse`): here it is
only found, and bounded.

Nothing but LF, or CRLF, ends a line. Readers that also split at U+2028 and its like see pieces of a JSON
string, in which every quotation mark is escaped, and none of them is a message.
"""

from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import MAX_BYTES

MAX_LINE: Final = MAX_BYTES
_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


class LineDecoder:
    """`feed` it what arrives; it returns the lines that are complete. At most `max_bytes` are held back."""

    __slots__ = ("_held", "_max", "_partial")

    def __init__(self, max_bytes: int = MAX_LINE) -> None:
        self._max = max_bytes
        self._partial: list[bytes] = []  # the line that has no end yet, in pieces
        self._held = 0

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended: if the stream ends now, it was cut."""
        return bool(self._partial)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; lines of white space alone are skipped.

        Raises `Refused(MCP_LINE_TOO_LONG)`; nothing can be read from the stream after that.
        """
        *ends, rest = chunk.split(b"\n")
        lines = [line for line in map(self._ended, ends) if line.strip(b" \t\r")]
        self._keep(rest)
        return lines

    def _ended(self, end: bytes) -> bytes:
        self._keep(end)
        line = b"".join(self._partial)
        self._partial, self._held = [], 0
        return line.removesuffix(b"\r")

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        self._held += len(piece)
        if self._held > self._max:
            self._partial = []
            raise Refused(Reason.MCP_LINE_TOO_LONG, f"more than {self._max} bytes")
        self._partial.append(piece)


def encode_line(message: bytes) -> bytes:
    """`message`, which was parsed as strict JSON, as one line.

    A line break in JSON is white space between two tokens: inside a string it has to be escaped (RFC 8259
    section 7). So a space in its place changes nothing of what the message says.
    """
    return message.translate(_BREAKS) + b"\n"
