"""The processes of one program: started when they are needed, no faster than its back-off, and not too many.

There are three kinds. One of 2026-07-28 serves all who speak it, for it knows no sessions. In the legacy era
there is one for each session, or one that all sessions share: it was initialised by us, with no capability
that a client would have to keep, and every client is told what it answered then.

Which era a program speaks is asked of it once (`server/discover`), when somebody first speaks 2026-07-28 to
it. Where it does not, nobody is served in that era, and it is asked again only after a while.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import LEGACY_VERSIONS, MODERN_VERSIONS, Request, Response, inventory, parse
from spiffe_mcp.mcp.era import VersionRefused
from spiffe_mcp.mesh.stdio.backoff import BackOff
from spiffe_mcp.mesh.stdio.program import Program
from spiffe_mcp.mesh.stdio.server import Server
from spiffe_mcp.strict_json import JsonObject

PROBE_TIMEOUT: Final = 10.0  # seconds; whoever ignores the question does not know it
WAITED_FOR: Final = 1.0  # seconds of back-off for which a caller waits
REMEMBERED: Final = 600.0  # seconds for which a program that spoke no 2026-07-28 is not asked again


class Shared:
    """A legacy server that several sessions speak to, and what it answered to our `initialize`."""

    def __init__(self, server: Server, greeting: Response) -> None:
        self.server = server
        self.greeting = greeting


class Slots:
    """All processes of `program`; `tasks` watch them.

    `own` is the agent's environment; `clock` counts seconds, and `pause` lets some of them pass.
    """

    def __init__(
        self,
        name: str,
        program: Program,
        own: Mapping[str, str],
        tasks: asyncio.TaskGroup,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._program = program
        self._own = own
        self._tasks = tasks
        self._backoff = BackOff()
        self._clock = clock
        self._pause = pause
        self._starting = asyncio.Lock()
        self._alive: dict[Server, asyncio.Task[None]] = {}
        self._modern: Server | None = None
        self._shared: Shared | None = None
        self._asked_at: float | None = None  # when the program last spoke no 2026-07-28
        self._closed = False

    @property
    def room(self) -> int:
        """How many processes for sessions there may be beside those that are there, and wanted."""
        return self._program.most - sum(server.process.wanted for server in self._for_sessions)

    async def modern(self) -> Server:
        """The one that speaks 2026-07-28; raises `Refused`.

        MCP_VERSION_UNSUPPORTED, STDIO_NOT_STARTED, STDIO_ENDED: it does not, it did not start, it went away.
        """
        async with self._starting:
            if self._modern is None or not self._modern.process.wanted:
                self._modern = await self._discovered()
            return self._modern

    async def shared(self) -> Shared:
        """The one that all sessions share; raises `Refused` as `modern`, or MCP_ANSWER_ERROR."""
        async with self._starting:
            if self._shared is None or not self._shared.server.process.wanted:
                self._shared = await self._initialised()
            return self._shared

    async def own(self) -> Server:
        """A new one, for one session; raises `Refused`: STDIO_TOO_MANY, STDIO_NOT_STARTED."""
        async with self._starting:
            # Those that are ending count as well, or whoever opens and ends sessions would have many of them.
            if self.room <= 0 or len(self._for_sessions) >= 2 * self._program.most:
                raise Refused(Reason.STDIO_TOO_MANY, f"{len(self._for_sessions)} processes")
            return await self._start(takes_requests=True)

    @property
    def _for_sessions(self) -> list[Server]:
        return [server for server in self._alive if server.takes_requests]

    async def close(self) -> None:
        """End them all; returns when they have ended."""
        self._closed = True
        for server in self._alive:
            server.process.end()
        if self._alive:
            await asyncio.wait(self._alive.values())

    async def _start(self, *, takes_requests: bool = False) -> Server:
        """Raises `Refused(STDIO_NOT_STARTED)`."""
        remaining = self._backoff.remaining(self._clock())
        if remaining > WAITED_FOR:  # nobody is kept waiting behind a program that ends again and again
            raise Refused(Reason.STDIO_NOT_STARTED, f"it ended, and is started again in {remaining:.1f} s")
        await self._pause(remaining)
        if self._closed:
            raise Refused(Reason.STDIO_NOT_STARTED, "the agent ends")
        server = await Server.start(self._name, self._program, self._own, takes_requests=takes_requests)
        self._alive[server] = self._tasks.create_task(self._watched(server, self._clock()))
        return server

    async def _watched(self, server: Server, started: float) -> None:
        try:
            await server.run()
        finally:
            del self._alive[server]
            if server.process.failed:
                self._backoff.ended(started, self._clock())

    # -- which era ------------------------------------------------------------------------------------------

    async def _discovered(self) -> Server:
        if self._asked_at is not None and self._clock() - self._asked_at < REMEMBERED:
            raise _legacy_only()
        server = await self._start()
        if await self._speaks_modern(server):
            return server
        server.process.end()
        self._asked_at = self._clock()
        raise _legacy_only()

    async def _speaks_modern(self, server: Server) -> bool:
        """Raises `Refused` for one that ended before it could say: STDIO_ENDED, STDIO_NOT_STARTED."""
        try:
            answer = await self._answer(server, inventory.discover_request(0).body)
            return answer.result is not None and bool(inventory.parse_discover_result(answer.result))
        except Refused as refused:
            if refused.reason in (Reason.STDIO_ENDED, Reason.STDIO_NOT_STARTED):
                raise
            return False

    async def _initialised(self) -> Shared:
        server = await self._start()
        try:
            greeting = await self._answer(server, inventory.initialize_request(0).body)
            revision = inventory.parse_initialize_result(_result(greeting)).revision
            server.tell(inventory.initialized_notification(revision.version or "").body)
        except Refused:
            server.process.end()
            raise
        return Shared(server, greeting)

    async def _answer(self, server: Server, question: bytes) -> Response:
        """The answer to a question of our own; raises `Refused`, also UPSTREAM_TIMEOUT."""
        request = parse(question)
        assert isinstance(request, Request)  # noqa: S101  our own words
        asked = server.ask(request, self)
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT):
                while not (piece := await asked.exchange.next()).is_last:
                    continue
                answer = parse(piece.message)
                if isinstance(answer, Response):
                    return answer
        server.left(asked, cancels=True)
        raise Refused(Reason.UPSTREAM_TIMEOUT, "no answer to the first question")


def _result(answer: Response) -> JsonObject:
    if answer.result is None:
        raise Refused(Reason.MCP_ANSWER_ERROR, "initialize")
    return answer.result


def _legacy_only() -> VersionRefused:
    return VersionRefused(Reason.MCP_VERSION_UNSUPPORTED, MODERN_VERSIONS[0], LEGACY_VERSIONS)
