"""The server's side: requests come whole, responses leave as a stream.

One connection runs one handler at a time, in order (RFC 9112 section 9.3.2). When the client goes away the
handler is cancelled: an answer that nobody will read is not worth computing. A client that shuts only its
sending side counts as gone.

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
from spiffe_mcp.http.body import Body
from spiffe_mcp.http.deadline import Deadline
from spiffe_mcp.http.flow import WriteGate
from spiffe_mcp.http.load import Load
from spiffe_mcp.http.messages import Limits, Request, ResponseHead, check_request, values
from spiffe_mcp.http.reply import Reply

__all__ = ["HttpServer", "Reply", "ServerConnection", "Service"]

_LOG: Final = logging.getLogger(__name__)

_EARLY_BYTES: Final = 64 * 1024  # read ahead of the request that is being answered
_START_LINE: Final = 20  # bytes of it beside the target, about
_CHUNK_FRAME: Final = 12  # bytes around a chunk, about
_FIELD: Final = (
    32  # bytes that a header counts beside its own, as in RFC 9113 section 6.5.2: it is objects, too
)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Service(Protocol):
    """Who answers the requests of a connection."""

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer `request`. Cancelled when the client goes away."""

    def rejected(self, refused: Refused) -> None:
        """Something came that was no acceptable request; the client is told, in its turn."""


class HttpServer(Load):
    """What all connections of one listener share: limits, and the task group their handlers run in."""

    def __init__(self, tasks: asyncio.TaskGroup, limits: Limits) -> None:
        super().__init__(limits)
        self.tasks = tasks

    async def drained(self) -> None:
        """Have each connection end with its answer; returns when nobody waits for one any more."""
        quiet = asyncio.Event()
        self.drain(quiet.set)
        await quiet.wait()

    def connection(self, service: Service) -> "ServerConnection":
        """A protocol for one accepted connection, answered by `service`."""
        return ServerConnection(self, service)


class ServerConnection(asyncio.Protocol):
    """One accepted connection: bytes to requests, one handler at a time."""

    def __init__(self, server: HttpServer, service: Service) -> None:
        self._server = server
        self._service = service
        self._limits = server.limits
        self._gate = WriteGate()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._pending: deque[tuple[Request, bool] | Refused] = deque()
        self._early = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._deadline: Deadline
        self._stalled: Deadline
        self._deaf = False  # nothing more is read
        self._closing = False  # and nothing more is answered
        self._draining = False  # what is asked already is answered, and that is all
        self._reply: Reply | None = None
        self._paused = False
        self._held = 0  # bytes of bodies that count at the server
        self._unheard = 0  # bytes of an unfinished request that the parser has said nothing of
        self._reset_message()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deadline, self._stalled = Deadline(), Deadline()
        self._deadline.set(self._limits.idle_timeout, self._too_slow)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._task is None:
            self._parse(data)
        else:
            self._hold(data)

    def eof_received(self) -> bool:
        if self._task is None:
            self._close()
        else:
            self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  gone is gone
        self._deaf = self._closing = True
        self._server.closed(self)
        self._deadline.close()
        self._stalled.close()
        self._gate.break_()
        # Now, and not when the garbage collector finds the cycle of parser and connection: it counts objects,
        # and a few cut uploads are few objects and many bytes.
        self._reset_message()
        self._early.clear()
        self._pending.clear()
        self._let_go(self._held)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._gate.close()
        self._stalled.set(self._limits.write_timeout, self.abort)

    def resume_writing(self) -> None:
        self._stalled.clear()
        self._gate.open()

    @property
    def peername(self) -> object:
        """Where the client is, in the form of its socket's family (`socket.getpeername`)."""
        return self._transport.get_extra_info("peername")

    def drain(self) -> None:
        """Say of the next answer that it is the last, and close after it.

        An idle connection stays: a request may be on its way, and would be lost (RFC 9112 section 9.6).
        """
        self._draining = True
        if self._reply is not None and not self._reply.started:
            self._reply.keep_alive = False

    def finish(self) -> None:
        """Close: now and with a goodbye if nothing runs; otherwise when that has ended, or does not in time.

        A request of which only a part has come is not waited for: who would end what it begins?
        """
        self.drain()
        if self._task is None and not self._closing:
            self._close()
        else:
            self._deadline.set(self._limits.linger_timeout, self.abort)

    def give_way(self) -> None:
        """Close, for another one's sake; no request has come whole."""
        self._close()

    def abort(self) -> None:
        """End the connection now, whatever it was doing."""
        self._deaf = self._closing = True
        if not self._gate.broken:  # asyncio's transport does not stand it once the connection is lost
            self._transport.abort()

    # -- reading --------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        was_idle = self._idle
        self._unheard += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._reject(cause if isinstance(cause, Refused) else Refused(Reason.HTTP_MALFORMED))
        except httptools.HttpParserError as error:
            self._reject(Refused(Reason.HTTP_MALFORMED, str(error)))
        else:
            # The parser holds back a header line, a trailer or a chunk extension until it ends, so an endless
            # one is counted here.
            if self._idle:
                self._unheard = 0
            elif self._unheard > self._limits.head:
                self._reject(Refused(Reason.HTTP_HEAD_TOO_LARGE))
            elif was_idle and self._task is None:
                self._deadline.set(self._limits.read_timeout, self._too_slow)

    def _hold(self, data: bytes) -> None:
        """Keep what comes early: only by reading on while a request is answered do we see a client leave."""
        self._early += data
        if len(self._early) > _EARLY_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """All is answered: take what came early, then wait for more."""
        self._server.idle(self)
        timeout = self._limits.idle_timeout if self._idle else self._limits.read_timeout
        self._deadline.set(timeout, self._too_slow)
        early, self._early = bytes(self._early), bytearray()
        if early:
            self._parse(early)
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # -- httptools ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._idle = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url
        self._heard(len(url))
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.head:
            raise Refused(Reason.HTTP_HEAD_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header line."""
        if self._head_complete:
            # RFC 9110 section 6.5.1: a trailer must not be taken for a header. Nobody here knows one.
            raise Refused(Reason.HTTP_FRAMING, "trailer")
        self._headers.append((name.lower(), value.rstrip(b" \t")))
        size = len(name) + len(value) + 4
        self._unheard -= size
        self._head_bytes += size + _FIELD
        if self._head_bytes > self._limits.head:
            raise Refused(Reason.HTTP_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse now what would only waste a body."""
        self._heard(_START_LINE)
        self._head_complete = True
        headers = tuple(self._headers)
        if self._parser.get_http_version() != "1.1":
            raise Refused(Reason.HTTP_VERSION, self._parser.get_http_version())
        if self._parser.should_upgrade():
            raise Refused(Reason.HTTP_MALFORMED, "upgrade")
        if check_request(self._target, headers) > self._limits.body:
            raise Refused(Reason.HTTP_BODY_TOO_LARGE)
        # Behind an unanswered request it would stand in the wrong place, and RFC 9110 section 10.1.1 lets us
        # omit it.
        if self._task is None and b"100-continue" in map(bytes.lower, values(headers, b"expect")):
            self._transport.write(_CONTINUE)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._heard(_CHUNK_FRAME)

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._heard(len(chunk))
        self._body.add(chunk)
        self._held += len(chunk)
        self._server.hold(len(chunk))
        if len(self._body) > self._limits.body:
            raise Refused(Reason.HTTP_BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """A request is whole: answer it."""
        request = Request(self._parser.get_method(), self._target, tuple(self._headers), self._body.whole())
        self._pending.append((request, self._parser.should_keep_alive()))
        self._reset_message()
        if self._task is None:
            self._deadline.clear()
            self._server.busy(self)
            self._task = self._server.tasks.create_task(self._serve())

    def _reset_message(self) -> None:
        self._idle = True
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = Body()
        self._head_bytes = 0
        self._head_complete = False

    def _heard(self, count: int) -> None:
        self._unheard = max(0, self._unheard - count)

    # -- answering ------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Answer what is pending, in order; then read on."""
        try:
            while self._pending and not self._closing:
                await self._answer_next()
        except asyncio.CancelledError:
            self.abort()  # whoever cancelled: half an answer is no state to go on from
            raise
        self._task = None
        if not self._closing:
            self._read_on()

    async def _answer_next(self) -> None:
        pending = self._pending.popleft()
        await self._answer(pending)
        if not isinstance(pending, Refused):
            self._let_go(len(pending[0].body))

    def _let_go(self, count: int) -> None:
        # What a lost connection has let go of already is not let go of again.
        count = min(count, self._held)
        self._held -= count
        self._server.let_go(count)

    async def _answer(self, pending: tuple[Request, bool] | Refused) -> None:
        if isinstance(pending, Refused):
            self._say_why(pending)
            return
        request, keep_alive = pending
        head_only = request.method == b"HEAD"
        keep_alive = keep_alive and not self._draining
        reply = Reply(self._transport, self._gate, keep_alive=keep_alive, head_only=head_only)
        self._reply = reply
        try:
            await self._service.handle(request, reply)
            if not reply.finished:
                raise RuntimeError("the handler left its request unanswered")  # noqa: TRY301  as any fault of its
        except Exception:  # noqa: BLE001
            # A fault of ours must not take the other connections of this task group with it.
            self._handler_failed(reply)
        self._reply = None
        if not self._closing and (self._draining or not reply.keep_alive):
            self._close()

    def _handler_failed(self, reply: Reply) -> None:
        if self._gate.broken:
            return  # it was told that the client is gone
        _LOG.exception("the handler failed")
        if reply.started:
            self.abort()  # a cut stream, so that nobody takes a part for the whole
        else:
            reply.send_now(_plain(HTTPStatus.INTERNAL_SERVER_ERROR), b"internal\n")

    # -- ending ---------------------------------------------------------------------------------------------

    def _reject(self, refused: Refused) -> None:
        """Refuse what came, in its turn, and read no more of it."""
        self._deaf = True
        self._service.rejected(refused)
        if self._task is None:
            self._say_why(refused)
        else:
            self._pending.append(refused)

    def _say_why(self, refused: Refused) -> None:
        """The refusal, as the last word. Closing upon unread bytes would reset the connection and lose it."""
        reply = Reply(self._transport, self._gate, keep_alive=False)
        reply.send_now(_plain(refused.reason.status), refused.reason.code.encode() + b"\n")
        self._deaf = self._closing = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()
        self._deadline.set(self._limits.linger_timeout, self._close)

    def _close(self) -> None:
        """Close once everything written has left, or when the client does not take it."""
        self._deaf = self._closing = True
        self._deadline.set(self._limits.write_timeout, self.abort)
        self._transport.close()

    def _too_slow(self) -> None:
        if self._idle:
            self._close()
        else:
            self._reject(Refused(Reason.HTTP_TIMEOUT, f"no whole request in {self._limits.read_timeout:g} s"))


def _plain(status: HTTPStatus) -> ResponseHead:
    return ResponseHead(status, ((b"content-type", b"text/plain; charset=utf-8"),))
