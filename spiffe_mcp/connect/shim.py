"""One client at this process's standard input and output, and its server behind the egress.

Every request runs by itself, so that a slow one holds up none. What needs no answer (notifications, and the
client's answers to what the server asks) goes in the order in which it came, and before any request that
came after it: `notifications/initialized` has to be there before the first call.

 - Cancelled: in 2026-07-28 the end of the connection says it ("Cancellation" over streamable-http), so the
   notification goes no further; before, it is a notification like any other.
 - A session that the server forgot (404) is opened anew by the same `initialize`, and the request that met
   the 404, which therefore nobody executed, is sent again; once.
 - A stream that broke off before its answer is gone on with by GET, where the server gave its events IDs.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeAlias

from spiffe_mcp import http
from spiffe_mcp.connect.answer import Place, messages
from spiffe_mcp.connect.conversation import Conversation
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient
from spiffe_mcp.mcp import Era, Message, MessageId, Notification, Request, Response, parse, presumed_era
from spiffe_mcp.mcp.answers import answer_for
from spiffe_mcp.mcp.tools import encode

MAX_RUNNING: Final = 1024  # requests of one client
GRACE: Final = 10.0  # seconds for what still runs when the client has closed its side
GOODBYE: Final = 1.0  # seconds for the server to hear that the session is over
_EVENTS: Final = (b"accept", b"text/event-stream")
INITIALIZED: Final = parse(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
_LOG: Final = logging.getLogger(__name__)

# Writes one JSON-RPC message to the client, and waits while the client reads nothing.
Write: TypeAlias = Callable[[bytes], Awaitable[None]]


class Shim:
    """Between one client, whose lines come in and go out, and the server at `path` of `egress`."""

    def __init__(self, egress: HttpClient, host: bytes, path: bytes, write: Write) -> None:
        self._egress = egress
        self._host = (b"host", host)
        self._path = path
        self._write = write
        self._conversation = Conversation()
        self._running: dict[MessageId, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._delivered: asyncio.Task[None] | None = None  # of the last message that needs no answer
        self._listening: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup

    async def serve(self, lines: AsyncIterator[bytes]) -> None:
        """Serve until `lines` end and what they asked for is answered, at most `GRACE` seconds later."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                async for line in lines:
                    await self._take(line)
                await self._finish()
        finally:
            await self._say_goodbye()

    async def _take(self, line: bytes) -> None:
        try:
            message = parse(line)
        except Refused as refused:
            await self._refuse(refused, None, Era.LEGACY)
            return
        if isinstance(message, Request):
            await self._start(message)
        elif not self._cancels(message):
            self._delivered = self._tasks.create_task(self._deliver(message, self._delivered))

    async def _finish(self) -> None:
        """What was asked before the client closed its side is answered, if that does not take long."""
        pending = {*self._running.values(), *filter(None, (self._delivered,))}
        if pending:
            await asyncio.wait(pending, timeout=GRACE)
        for task in (*self._running.values(), self._listening, self._delivered):
            if task is not None:
                task.cancel()

    async def _say_goodbye(self) -> None:
        """End the session (2025-11-25 "Session Management"): the server need not keep it until it is idle."""
        if self._conversation.session:
            headers = (self._host, *self._conversation.standing())
            with suppress(Refused, TimeoutError):  # whoever does not hear it forgets the session later
                async with asyncio.timeout(GOODBYE):
                    async with await self._egress.send(http.Request(b"DELETE", self._path, headers)):
                        pass
        self._egress.retire()

    # -- what needs no answer -------------------------------------------------------------------------------

    def _cancels(self, message: Message) -> bool:
        """Whether `message` cancelled a request of 2026-07-28, which has no such message over HTTP."""
        if not isinstance(message, Notification) or message.method != "notifications/cancelled":
            return False
        if self._conversation.is_legacy:
            return False
        named = (message.params or {}).get("requestId")
        running = self._running.get(named) if isinstance(named, str | int) else None
        if running is not None:
            running.cancel()
        return True

    async def _deliver(self, message: Message, before: asyncio.Task[None] | None) -> None:
        await _ended(before)
        try:
            async with await self._post(message) as response:
                if response.head.status >= HTTPStatus.BAD_REQUEST:
                    _LOG.warning("the server did not take a message: status %d", response.head.status)
        except Refused as refused:
            _LOG.warning("a message was not delivered: %s", refused)
            return
        if isinstance(message, Notification) and message.method == "notifications/initialized":
            self._listen()

    def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self._tasks.create_task(self._hear())

    async def _hear(self) -> None:
        """What the server says of its own accord, as long as it wants to; it may have nothing (405)."""
        place = Place()
        with suppress(Refused):  # nobody asked for it; a request tells what is wrong
            while True:
                async with await self._get(place) as response:
                    if response.head.status != HTTPStatus.OK:
                        return
                    async for message in messages(response, place):
                        await self._write(message.raw)
                await asyncio.sleep(place.pause)

    # -- requests -------------------------------------------------------------------------------------------

    async def _start(self, request: Request) -> None:
        if request.id in self._running:
            refused = Refused(Reason.MCP_ID_MALFORMED, "of a request that still runs")
        elif len(self._running) >= MAX_RUNNING:
            refused = Refused(Reason.HTTP_BUSY, f"{MAX_RUNNING} requests")
        else:
            self._running[request.id] = task = self._tasks.create_task(self._ask(request, self._delivered))
            task.add_done_callback(lambda _: self._running.pop(request.id))
            return
        await self._refuse(refused, request.id, presumed_era(request))

    async def _ask(self, request: Request, before: asyncio.Task[None] | None) -> None:
        await _ended(before)
        try:
            await self._exchange(request)
        except Refused as refused:
            _LOG.warning("%s: %s", request.method, refused)
            await self._refuse(refused, request.id, presumed_era(request))

    async def _exchange(self, request: Request) -> None:
        session = self._conversation.session
        async with await self._post(request) as response:
            if not (session and response.head.status == HTTPStatus.NOT_FOUND and self._in_session(request)):
                await self._relay(request, response)
                return
        async with self._opening:
            if self._conversation.session == session:  # no other request has met the same 404 before
                await self._open_anew()
        async with await self._post(request) as response:
            await self._relay(request, response)

    def _in_session(self, request: Request) -> bool:
        return presumed_era(request) is Era.LEGACY and request.method != "initialize"

    async def _relay(self, request: Request, response: http.Response) -> None:
        """Write all that `response` holds, and the rest of it wherever that is."""
        if response.head.status < HTTPStatus.BAD_REQUEST:
            self._conversation.opened(request, response.head.headers)
        place = Place()
        while not await self._passed(request, response, place):
            if not place.headers:
                raise Refused(Reason.MCP_ANSWER_MISSING, f"status {response.head.status}")
            response = await self._gone_on(place)

    async def _gone_on(self, place: Place) -> http.Response:
        """The stream that goes on from `place` (2025-11-25 "Resumability and Redelivery")."""
        await asyncio.sleep(place.pause)
        response = await self._get(place)
        place.event_id = None  # unless something new comes, there is no going on from here again
        return response

    async def _passed(self, request: Request, response: http.Response, place: Place) -> bool:
        """Write the messages in `response`; whether the answer to `request` was among them."""
        answered = False
        try:
            async with response:
                async for message in messages(response, place):
                    if isinstance(message, Response) and message.id in (request.id, None):
                        answered = True
                        self._conversation.answered(request, message)
                    await self._write(_addressed(message, request.id))
        except Refused as refused:
            if not answered and not (refused.reason is Reason.UPSTREAM_BROKEN and place.headers):
                raise
            _LOG.info("a stream broke off: %s", refused)
        return answered

    async def _open_anew(self) -> None:
        initialize = self._conversation.initialize
        if initialize is None:
            raise Refused(Reason.SESSION_UNKNOWN)
        async with await self._post(initialize) as response:
            self._conversation.opened(initialize, response.head.headers)
            async for message in messages(response, Place()):
                if isinstance(message, Response):
                    self._conversation.answered(initialize, message)
        async with await self._post(INITIALIZED):
            _LOG.info("the server had forgotten the session; there is a new one")
        self._listen()

    async def _refuse(self, refused: Refused, message_id: MessageId | None, era: Era) -> None:
        # The detail is this machine's own, and the one thing that its user can do something about.
        unreachable = refused.reason is Reason.UPSTREAM_UNREACHABLE
        words = f"No mesh agent answers at {refused.detail}" if unreachable else None
        await self._write(answer_for(refused, message_id, era, message=words).body)

    # -- HTTP -----------------------------------------------------------------------------------------------

    async def _post(self, message: Message) -> http.Response:
        headers = (self._host, *self._conversation.headers(message))
        return await self._egress.send(http.Request(b"POST", self._path, headers, message.raw))

    async def _get(self, place: Place) -> http.Response:
        headers = (self._host, _EVENTS, *self._conversation.standing(), *place.headers)
        return await self._egress.send(http.Request(b"GET", self._path, headers))


def _addressed(message: Message, message_id: MessageId) -> bytes:
    """`message` as it came; an error that names no request is the answer to the one that it came for."""
    if isinstance(message, Response) and message.id is None:
        return encode({**message.envelope, "id": message_id})
    return message.raw


async def _ended(before: asyncio.Task[None] | None) -> None:
    if before is not None:
        await asyncio.wait({before})
