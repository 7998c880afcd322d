"""The client's side of one connection: whole requests out, responses in as a stream.

One request at a time, and nothing is ever sent twice. Which connection a request goes out on is `pool`'s
affair.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Self, cast

import httptools

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.deadline import Deadline
from spiffe_mcp.http.messages import UNSTATED, Request, ResponseHead, body_length, encode_request

_HIGH_WATER: Final = 256 * 1024  # bytes of a response held for a slow reader before the peer is paused
_MAX_HEAD: Final = 32 * 1024
_STATUS_LINE: Final = 16  # bytes that a status line has at least
_INFORMATIONAL: Final = range(100, 200)
_NOT_SPOKEN: Final = frozenset({b"HEAD", b"CONNECT"})


class Lease:
    """A connection that is kept for one request. Either `send` it or `release` it."""

    def __init__(self, connection: "ClientConnection", done: Callable[["ClientConnection"], None]) -> None:
        self.connection = connection
        self._done = done

    async def send(self, request: Request) -> "Response":
        """Send `request`; the response once its head is there."""
        try:
            head = await self.connection.exchange(request)
        except BaseException:
            self.connection.abort()
            raise
        return Response(head, self.connection, self._done)

    def release(self) -> None:
        """Nothing will be sent: the connection is anybody's again."""
        self._done(self.connection)


class Response:
    """A response whose body is still arriving. Leaving it early cuts the connection: the peer stops too."""

    def __init__(
        self, head: ResponseHead, connection: "ClientConnection", done: Callable[["ClientConnection"], None]
    ) -> None:
        self.head = head
        self._connection = connection
        self._done: Callable[[ClientConnection], None] | None = done

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done, self._done = self._done, None
        if done is not None:  # giving a connection back twice would let two requests share it
            done(self._connection)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._read():
            yield chunk

    async def _read(self) -> bytes:
        if self._done is None:
            raise RuntimeError("the response was left: its connection may carry another by now")
        return await self._connection.read()

    async def body(self, limit: int) -> bytes:
        """The whole body; raises `Refused(UPSTREAM_BROKEN)` if it is longer than `limit` bytes."""
        chunks = bytearray()
        async for chunk in self:
            chunks += chunk
            if len(chunks) > limit:
                raise Refused(Reason.UPSTREAM_BROKEN, f"an answer of more than {limit} bytes")
        return bytes(chunks)


class ClientConnection(asyncio.Protocol):
    """One connection: one request at a time, and its response as it arrives."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._loop: asyncio.AbstractEventLoop
        self._parser: Any = None
        self._wakeup: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._lost = False
        self._failure: Refused | None = None
        self._deadline: Deadline  # while it is idle
        self._idling = False
        self._idle_over: Callable[[], None]
        self._head: ResponseHead | None = None
        self._complete = True
        self._keep_alive = True
        self._draining = False

    # -- what the pool and the response use -----------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """Whether another request may be planned for this connection."""
        return self._usable and not self._draining

    @property
    def _usable(self) -> bool:
        """Whether a request may go out here."""
        return self._complete and self._keep_alive and not self._lost and not self._transport.is_closing()

    async def exchange(self, request: Request) -> ResponseHead:
        """Send `request` and wait for the head of its response.

        Raises ValueError for HEAD and CONNECT, whose answers end elsewhere than their heads say, and
        `Refused(UPSTREAM_UNREACHABLE)`, or what the transport said, if the connection is gone already.
        """
        if request.method in _NOT_SPOKEN:
            raise ValueError(request.method)
        if not self._usable:  # one that has been leased may still begin what it was leased for
            raise self._failure or Refused(Reason.UPSTREAM_UNREACHABLE, "connection closed")
        message = encode_request(request)
        self._parser = httptools.HttpResponseParser(self)
        self._head = None
        self._complete = False
        self._until_close = False
        self._head_bytes = 0
        self._unheard = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._transport.write(message)
        while self._head is None:
            await self._more()
        return self._head

    async def read(self) -> bytes:
        """What has arrived of the body; empty at its end."""
        while not self._chunks and not self._complete:
            await self._more()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self.discard()
        return body

    def discard(self) -> None:
        """Forget what has arrived of the body and was not read, and let more come."""
        self._chunks.clear()
        self._buffered = 0
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def idle(self, timeout: float, over: Callable[[], None]) -> None:
        """Wait for the next request, at most `timeout` seconds; calls `over` once, however that ends."""
        self._idle_over = over
        self._idling = True
        self._deadline.set(timeout, self.abort)

    def stop_idling(self) -> None:
        """A request is about to go out."""
        if self._idling:
            self._idling = False
            self._deadline.clear()
            self._idle_over()

    def drain(self) -> None:
        """Take no request after the one that this connection is leased for; idle, end now with a goodbye."""
        self._draining = True
        if self._idling:
            self.abort()

    def cut(self, refused: Refused) -> None:
        """End the connection at once; whoever waits for something of it learns why."""
        self._failure = self._failure or refused
        self.stop_idling()
        self._keep_alive = False
        if not self._lost:
            self._transport.abort()
        self._wake()

    def abort(self) -> None:
        """End the connection: with a goodbye between two exchanges, at once in the middle of one."""
        self.stop_idling()
        self._keep_alive = False
        if self._lost:
            return
        if self._complete:
            self._transport.close()
        else:
            # Whoever still reads must not take this end for the body's own.
            self._failure = self._failure or _broken("cut by this side")
            self._transport.abort()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # The loop is kept: to ask for the running one is a system call in CPython 3.11.
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._loop)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self._fail("bytes that answer no request")
            return
        self._unheard += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._fail(cause.detail if isinstance(cause, Refused) else str(error))
        if self._unheard > _MAX_HEAD:
            self._fail("a line without an end")
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.stop_idling()
        self._deadline.close()
        if self._failure is None:
            if isinstance(exc, Refused):
                self._failure = exc  # the transport knows why; also before the first request
            elif not self._complete:
                self._end_by_close(exc)
        self._wake()

    def _end_by_close(self, exc: Exception | None) -> None:
        """RFC 9112 section 6.3: a body without a length ends with the connection, if that ended well."""
        if self._head is not None and self._until_close and exc is None:
            self._complete = True
        else:
            self._failure = _broken("closed before its answer was whole")

    # -- httptools ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a response. One request has one: what follows must not pass for its body."""
        if self._complete:
            raise _broken("bytes that answer no request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header line, or one of a trailer: counted, and left (RFC 9110 section 6.5.1)."""
        self._headers.append((name.lower(), value.rstrip(b" \t")))
        self._unheard = 0
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _MAX_HEAD:
            raise _too_long()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._unheard = 0
        self._head_bytes += (
            _STATUS_LINE  # informational responses count too: a peer could send them without end
        )
        if self._head_bytes > _MAX_HEAD:
            raise _too_long()
        status = self._parser.get_status_code()
        if status in _INFORMATIONAL:
            return
        if self._parser.should_upgrade():
            raise _broken("upgrade")
        headers = tuple(self._headers)
        self._until_close = body_length(headers) == UNSTATED
        self._head = ResponseHead(status, headers)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._unheard = 0

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._unheard = 0
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if self._buffered > _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The response is whole; an informational one (RFC 9110 section 15.2) only precedes it."""
        if self._head is None:
            self._headers = []
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # -- waiting --------------------------------------------------------------------------------------------

    async def _more(self) -> None:
        """Wait until something happened; raises what went wrong."""
        if self._failure is None:
            self._wakeup = self._loop.create_future()
            await self._wakeup
        if self._failure is not None and not self._complete:
            raise self._failure

    def _fail(self, detail: str) -> None:
        self._failure = self._failure or _broken(detail)
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


def _broken(detail: str) -> Refused:
    return Refused(Reason.UPSTREAM_BROKEN, detail)


def _too_long() -> Refused:
    return _broken("a head of more than 32 KiB")
