"""HTTP/1.1 framing of the suite's own, as little as it takes: what both its client and its server read.

Written on asyncio streams alone. The proxy under test is judged by these bytes, so nothing of its code reads
them.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Cut(AssertionError):  # noqa: N818  an event, and the failure of a check only if nobody expects it
    """The connection ended in the middle of a message."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and headers; names in lower case, values without surrounding white space."""

    start: bytes
    headers: Headers
    raw: bytes

    def values(self, name: bytes) -> list[bytes]:
        """All values of one header, in order."""
        return [value for key, value in self.headers if key == name]


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None if the other side closed instead. Raises `Cut`."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Cut(f"in a head: {error.partial[:80]!r}") from None
        return None
    start, *lines = raw[:-4].split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return Head(start, tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs), raw)


async def body_of(reader: asyncio.StreamReader, head: Head, *, until_close: bool) -> AsyncIterator[bytes]:
    """The pieces of the body that follows `head`, as they come; raises `Cut` where it is not whole."""
    try:
        if b"chunked" in b",".join(head.values(b"transfer-encoding")).lower():
            async for piece in _chunks(reader):
                yield piece
        elif lengths := head.values(b"content-length"):
            yield await reader.readexactly(int(lengths[0]))
        elif until_close:
            while piece := await reader.read(65536):
                yield piece
    except asyncio.IncompleteReadError:
        raise Cut("in a body") from None


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
