"""Streamable HTTP in front of a program that speaks stdio: an HTTP service, in both eras.

    POST    a request is answered as JSON or as a stream of events, whichever its first message makes it
            a notification or a client's answer is handed over: 202
    GET     what the server says of its own accord, in a session that has a process of its own
    DELETE  ends a session

Who may call what has been decided before it comes here. What the bridge itself refuses is an answer of HTTP
and JSON-RPC, as any other refusal; what it costs is in the log.
"""

import logging
from collections.abc import Callable
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Reply, ResponseHead
from spiffe_mcp.http import Request as HttpRequest
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import Era, Message, Notification, Request, Response, answer_for, parse, presumed_era
from spiffe_mcp.mcp.stdio import encode_line
from spiffe_mcp.mesh.headers import BRIDGE_REFUSED, SESSION_ID
from spiffe_mcp.mesh.stdio import correlation, members
from spiffe_mcp.mesh.stdio.exchange import Exchange
from spiffe_mcp.mesh.stdio.program import Processes
from spiffe_mcp.mesh.stdio.server import Server
from spiffe_mcp.mesh.stdio.sessions import Session, Sessions
from spiffe_mcp.mesh.stdio.slots import Shared, Slots

_LOG: Final = logging.getLogger(__name__)

_JSON: Final = ((b"content-type", b"application/json"),)
_EVENTS: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
_ACCEPTED: Final = ResponseHead(202, ())
_INITIALIZED: Final = "notifications/initialized"


class Bridge:
    """An `http.Service`. `path` is where it answers, and nowhere else; `clock` counts seconds."""

    def __init__(
        self, path: bytes, processes: Processes, slots: Slots, sessions: Sessions, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._processes = processes
        self._slots = slots
        self._sessions = sessions
        self._clock = clock

    # -- http.Service ---------------------------------------------------------------------------------------

    def rejected(self, refused: Refused) -> None:
        """Something came that is no request."""
        _LOG.warning("a request could not be read: %s", refused)

    async def handle(self, request: HttpRequest, reply: Reply) -> None:
        """Answer one request."""
        message: Message | None = None
        try:
            if request.target != self._path:
                raise Refused(Reason.ROUTE_UNKNOWN)  # noqa: TRY301  answered below, as all others
            if request.method == b"POST":
                message = parse(request.body)
            await self._answer(request, message, reply)
        except Refused as refused:
            _LOG.warning("not answered: %s", refused)
            await _refuse(refused, message, reply)

    async def _answer(self, request: HttpRequest, message: Message | None, reply: Reply) -> None:
        match message:
            case Request():
                await self._request(message, request, reply)
            case Notification() | Response():
                self._hand_over(message, self._session(request))
                await reply.send(_ACCEPTED, b"")
            case None if request.method == b"GET":
                await self._listen(self._session(request), reply)
            case None if request.method == b"DELETE":
                self._sessions.end(self._session(request))
                await reply.send(ResponseHead(200, ()), b"")
            case None:
                raise Refused(Reason.HTTP_METHOD)

    def _session(self, request: HttpRequest) -> Session:
        named = values(request.headers, SESSION_ID)
        return self._sessions.find(named[0] if len(named) == 1 else None, self._clock())

    # -- requests -------------------------------------------------------------------------------------------

    async def _request(self, message: Request, request: HttpRequest, reply: Reply) -> None:
        if presumed_era(message) is Era.MODERN:
            await self._exchange(message, await self._slots.modern(), None, reply)
        elif message.method == "initialize":
            await self._open(message, reply)
        else:
            session = self._session(request)
            await self._exchange(message, session.server, session, reply)

    async def _open(self, message: Request, reply: Reply) -> None:
        if self._processes is Processes.SHARED:
            shared = await self._slots.shared()
            session = self._sessions.open(shared.server, self._clock(), owns=False)
            await reply.send(ResponseHead(200, (*_JSON, *_named(session))), _greeting(shared, message))
            return
        if self._slots.room <= 0:
            self._sessions.make_room()
        session = self._sessions.open(await self._slots.own(), self._clock(), owns=True)
        try:
            await self._exchange(message, session.server, session, reply, _named(session))
        except BaseException:  # a session that nobody knows the name of
            self._sessions.end(session)
            raise

    async def _exchange(
        self, message: Request, server: Server, session: Session | None, reply: Reply, extra: Headers = ()
    ) -> None:
        asked = server.ask(message, session)
        try:
            await _pass(asked.exchange, reply, extra)
        finally:
            # 2026-07-28 streamable-http "Cancellation": to close the stream is to cancel. Before, it is not.
            server.left(asked, cancels=session is None)

    # -- what needs no answer -------------------------------------------------------------------------------

    def _hand_over(self, message: Notification | Response, session: Session) -> None:
        named = correlation.cancels(message)
        if isinstance(message, Notification) and named is not None:
            session.server.cancel(message, named, session)
        elif session.owns:
            session.server.tell(message.raw)
        elif isinstance(message, Response) or message.method != _INITIALIZED:
            # What one client says to a process that others use too would be said for all of them.
            _LOG.info("not handed over to a shared process: %s", type(message).__name__)

    async def _listen(self, session: Session, reply: Reply) -> None:
        if not session.owns:
            raise Refused(Reason.HTTP_METHOD)
        exchange = session.server.stand()
        try:
            await reply.start(ResponseHead(200, _EVENTS))
            await _stream(exchange, reply)
        finally:
            session.server.stood(exchange)


async def _pass(exchange: Exchange, reply: Reply, extra: Headers) -> None:
    """Send what comes: one answer as JSON; a stream of events where something comes before it."""
    first = await exchange.next()
    if first.is_last:
        await reply.send(ResponseHead(200, (*_JSON, *extra)), first.message)
        return
    await reply.start(ResponseHead(200, (*_EVENTS, *extra)))
    await reply.write(_event(first.message))
    await _stream(exchange, reply)


async def _stream(exchange: Exchange, reply: Reply) -> None:
    while True:
        piece = await exchange.next()
        await reply.write(_event(piece.message))
        if piece.is_last:
            reply.finish()
            return


async def _refuse(refused: Refused, message: Message | None, reply: Reply) -> None:
    if reply.started:
        if not reply.finished:
            reply.cut()  # a stream that ends without an answer must not look whole
        return
    message_id = message.id if isinstance(message, Request) else None
    era = Era.LEGACY if message is None else presumed_era(message)
    answer = answer_for(refused, message_id, era)
    named = ((BRIDGE_REFUSED, refused.reason.code.encode()),)
    await reply.send(ResponseHead(answer.status, (*_JSON, *named)), answer.body)


def _event(message: bytes) -> bytes:
    return b"event: message\ndata: " + encode_line(message) + b"\n"


def _named(session: Session) -> Headers:
    return ((SESSION_ID, session.identifier),)


def _greeting(shared: Shared, message: Request) -> bytes:
    """What the shared server answered to our `initialize`, as the answer to this client's."""
    raw = shared.greeting.raw
    here, there = members.locate_id(raw), members.locate_id(message.raw)
    if here is None or there is None:
        raise RuntimeError("an ID that was parsed cannot be found")
    return members.replace(raw, [(here, there.of(message.raw))])
