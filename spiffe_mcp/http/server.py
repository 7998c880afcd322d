"""The server's side: requests come whole, responses leave as a stream.

One connection runs one handler at a time, in order (RFC 9112 section 9.3.2): while a request is being
answered, nothing more is read. When the client goes away the handler is cancelled: an answer that nobody
will read is not worth computing.

Malformed, oversized and slow requests are answered here, with the reason's code and no more, before a
handler sees them; the service is told, so that it can keep a record.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import httptools

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.flow import WriteGate
from spiffe_mcp.http.messages import (
    Headers,
    Limits,
    Request,
    ResponseHead,
    check_request,
    encode_head,
    values,
)

_LOG: Final = logging.getLogger(__name__)


class Service(Protocol):
    """Who answers the requests of a connection."""

    async def handle(self, request: Request, reply: "Reply") -> None:
        """Answer `request`. Cancelled when the client goes away."""

    def rejected(self, refused: Refused) -> None:
        """Something came that was no acceptable request; the client has been told."""


_LAST_CHUNK: Final = b"0\r\n\r\n"
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class HttpServer:
    """What all connections of one listener share: limits, and the task group their handlers run in."""

    def __init__(self, tasks: asyncio.TaskGroup, limits: Limits) -> None:
        self.tasks = tasks
        self.limits = limits
        self._connections: set[ServerConnection] = set()

    def connection(self, service: Service) -> "ServerConnection":
        """A protocol for one accepted connection, answered by `service`."""
        return ServerConnection(self, service)

    def close(self) -> None:
        """End every connection now."""
        for connection in tuple(self._connections):
            connection.abort()

    def opened(self, connection: "ServerConnection") -> None:
        """A connection reports itself."""
        self._connections.add(connection)

    def closed(self, connection: "ServerConnection") -> None:
        """A connection reports its end."""
        self._connections.discard(connection)


class Reply:
    """The answer to one request: `send` a whole one, or `start`, `write` and `finish` a stream."""

    def __init__(self, transport: asyncio.Transport, gate: WriteGate, *, keep_alive: bool) -> None:
        self.started = False
        self.finished = False
        self.keep_alive = keep_alive
        self._transport = transport
        self._gate = gate

    async def send(self, head: ResponseHead, body: bytes) -> None:
        """A whole response in one write."""
        self._begin()
        length = (b"content-length", b"%d" % len(body))
        self._transport.write(encode_head(head, length, *self._connection_header()) + body)
        self.finished = True
        await self._gate.passable()

    async def start(self, head: ResponseHead) -> None:
        """The head of a streamed response."""
        self._begin()
        self._transport.write(encode_head(head, _CHUNKED, *self._connection_header()))
        await self._gate.passable()

    async def write(self, chunk: bytes) -> None:
        """A piece of the body, sent at once; waits while the client does not keep up."""
        if chunk:
            self._transport.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await self._gate.passable()

    def finish(self) -> None:
        """The body is whole."""
        self._transport.write(_LAST_CHUNK)
        self.finished = True

    def _begin(self) -> None:
        if self.started:
            raise RuntimeError("one request has one response")
        self.started = True

    def _connection_header(self) -> Headers:
        return () if self.keep_alive else ((b"connection", b"close"),)


class ServerConnection(asyncio.Protocol):
    """One accepted connection: bytes to requests, one handler at a time."""

    def __init__(self, server: HttpServer, service: Service) -> None:
        self._server = server
        self._service = service
        self._limits = server.limits
        self._gate = WriteGate()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._pending: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._closing = False
        self._idle = True
        self._reset_message()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)
        self._set_deadline(self._limits.idle_timeout)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._idle:
            self._idle = False
            self._set_deadline(self._limits.read_timeout)
        try:
            self._parser.feed_data(data)
            self._bound_unfinished_head(len(data))
        except Refused as refused:
            self._reject(refused)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._reject(cause if isinstance(cause, Refused) else Refused(Reason.HTTP_MALFORMED))
        except httptools.HttpParserError as error:
            self._reject(Refused(Reason.HTTP_MALFORMED, str(error)))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  gone is gone
        self._closing = True
        self._server.closed(self)
        self._set_deadline(None)
        self._gate.break_()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._gate.close()

    def resume_writing(self) -> None:
        self._gate.open()

    def abort(self) -> None:
        """End the connection now, whatever it was doing."""
        self._transport.abort()

    # -- httptools ------------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header line."""
        self._headers.append((name.lower(), value))
        self._count_head(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse now what would only waste a body."""
        self._head_complete = True
        headers = tuple(self._headers)
        check_request(headers)
        if self._parser.should_upgrade():
            raise Refused(Reason.HTTP_MALFORMED, "upgrade")
        if self._parser.get_http_version() != "1.1":
            raise Refused(Reason.HTTP_VERSION, self._parser.get_http_version())
        length = values(headers, b"content-length")
        if length and int(length[0][:20]) > self._limits.body:
            raise Refused(Reason.HTTP_BODY_TOO_LARGE)
        if values(headers, b"expect") == (b"100-continue",):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._body.append(chunk)
        self._body_bytes += len(chunk)
        if self._body_bytes > self._limits.body:
            raise Refused(Reason.HTTP_BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """A request is whole: answer it, and read no further until that is done."""
        request = Request(
            self._parser.get_method(), bytes(self._target), tuple(self._headers), b"".join(self._body)
        )
        self._pending.append((request, self._parser.should_keep_alive()))
        self._reset_message()
        self._transport.pause_reading()
        if self._task is None:
            self._set_deadline(None)
            self._task = self._server.tasks.create_task(self._serve())

    def _reset_message(self) -> None:
        self._idle = True
        self._target = bytearray()
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._unfinished_head = 0
        self._head_complete = False

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._limits.head:
            raise Refused(Reason.HTTP_HEAD_TOO_LARGE)

    def _bound_unfinished_head(self, received: int) -> None:
        """The parser holds back a header line until it ends, so an endless one is counted here."""
        if not self._head_complete and not self._idle:
            self._unfinished_head += received
            if self._unfinished_head > self._limits.head:
                raise Refused(Reason.HTTP_HEAD_TOO_LARGE)

    # -- answering ------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Answer what is pending, in order; then read on."""
        while self._pending and not self._closing:
            request, keep_alive = self._pending.popleft()
            reply = Reply(self._transport, self._gate, keep_alive=keep_alive)
            await self._answer(request, reply)
            if not (reply.finished and reply.keep_alive):
                self._close()
        self._task = None
        if not self._closing:
            self._set_deadline(self._limits.idle_timeout if self._idle else self._limits.read_timeout)
            self._transport.resume_reading()

    async def _answer(self, request: Request, reply: Reply) -> None:
        try:
            await self._service.handle(request, reply)
        except ConnectionResetError:
            self._closing = True
        except Exception:  # noqa: BLE001
            # A fault of ours must not take the other connections of this task group with it.
            _LOG.exception("the handler failed")
            if reply.started:
                self.abort()  # a cut stream, so that nobody takes a part for the whole
            else:
                await reply.send(_head(HTTPStatus.INTERNAL_SERVER_ERROR), b"internal\n")

    def _reject(self, refused: Refused) -> None:
        self._service.rejected(refused)
        if self._task is None:
            body = refused.reason.code.encode() + b"\n"
            length = (b"content-length", b"%d" % len(body))
            head = _head(refused.reason.status)
            self._transport.write(encode_head(head, length, (b"connection", b"close")) + body)
        self._close()

    def _close(self) -> None:
        self._closing = True
        self._set_deadline(None)
        self._transport.close()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = None if seconds is None else loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._idle:
            self._close()
        else:
            self._reject(Refused(Reason.HTTP_TIMEOUT, f"no whole request in {self._limits.read_timeout:g} s"))


def _head(status: HTTPStatus) -> ResponseHead:
    return ResponseHead(status, ((b"content-type", b"text/plain; charset=utf-8"),))
