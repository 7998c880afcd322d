"""The answer to one request, as its handler gives it: whole, or as a stream that waits for a slow reader."""

import asyncio
from typing import Final

from spiffe_mcp.http.flow import WriteGate
from spiffe_mcp.http.messages import ResponseHead, encode_head

_LAST_CHUNK: Final = b"0\r\n\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_CLOSE: Final = b"connection: close\r\n"


class Reply:
    """The answer to one request: `send` a whole one, or `start`, `write` and `finish` a stream.

    Out of that order it raises RuntimeError: bytes after the end would pass for the next answer.
    `send`, `start` and `write` raise `ConnectionResetError` once the client is gone.
    """

    def __init__(
        self, transport: asyncio.Transport, gate: WriteGate, *, keep_alive: bool, head_only: bool = False
    ) -> None:
        self.started = False
        self.finished = False
        self.keep_alive = keep_alive
        self._transport = transport
        self._gate = gate
        self._bodiless = head_only  # RFC 9110 section 9.3.2: HEAD has the headers of GET and no body

    @property
    def peername(self) -> object:
        """Where the client is, in the form of its socket's family (`socket.getpeername`)."""
        return self._transport.get_extra_info("peername")

    async def send(self, head: ResponseHead, body: bytes) -> None:
        """A whole response in one write."""
        self.send_now(head, body)
        await self._gate.passable()

    def send_now(self, head: ResponseHead, body: bytes) -> None:
        """As `send`, without waiting for a slow reader: for the last word on a connection."""
        # RFC 9110 section 8.6: no Content-Length in a response that never has a body.
        length = b"content-length: %d\r\n" % len(body) if head.has_body else b""
        block = self._begin(head, length)
        self._transport.write(block if self._bodiless else block + body)
        self.finished = True

    async def start(self, head: ResponseHead) -> None:
        """The head of a streamed response."""
        self._transport.write(self._begin(head, _CHUNKED if head.has_body else b""))
        await self._gate.passable()

    async def write(self, chunk: bytes) -> None:
        """A piece of the body, sent at once; waits while the client does not keep up."""
        self._must_be_open()
        if chunk and not self._bodiless:
            self._transport.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await self._gate.passable()

    def finish(self) -> None:
        """The body is whole."""
        self._must_be_open()
        if not self._bodiless:
            self._transport.write(_LAST_CHUNK)
        self.finished = True

    def cut(self) -> None:
        """End the connection in the middle of the body, so that nobody takes a part for the whole."""
        self._must_be_open()
        self._transport.close()
        self.keep_alive = False
        self.finished = True

    def _begin(self, head: ResponseHead, framing: bytes) -> bytes:
        if self.started:
            raise RuntimeError("one request has one response")
        block = encode_head(head, framing if self.keep_alive else framing + _CLOSE)
        self.started = True  # only now: a head that cannot be written has not begun
        self._bodiless = self._bodiless or not head.has_body
        return block

    def _must_be_open(self) -> None:
        if self.finished or not self.started:
            raise RuntimeError("a piece of a body outside its response")
