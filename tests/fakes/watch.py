"""A source of identity that runs, and everything it says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, TypeVar

from spiffe_mcp.identity.sources.events import SourceEvent, Updated
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState

PATIENCE: Final = 30  # seconds; a bound for a test that would hang, never an expectation
E = TypeVar("E", bound=SourceEvent)
S = TypeVar("S", bound=IdentitySource)


class Clock:
    """The time as a test wants it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Watch:
    """A source and its events, which are kept until a test asks for them."""

    def __init__(self, source: Callable[[Callable[[SourceEvent], None]], IdentitySource]) -> None:
        self.events: asyncio.Queue[SourceEvent] = asyncio.Queue()
        self.said: list[SourceEvent] = []
        self.source = source(self._hear)

    def _hear(self, event: SourceEvent) -> None:
        self.events.put_nowait(event)
        self.said.append(event)

    @property
    def current(self) -> IdentityState | None:
        return self.source.current

    async def next(self, kind: type[E]) -> E:
        """The next event, which has to be of this kind."""
        async with asyncio.timeout(PATIENCE):
            event = await self.events.get()
        assert isinstance(event, kind), event
        return event

    async def first(self, kind: type[E]) -> E:
        """The next event of this kind; others are let go by."""
        async with asyncio.timeout(PATIENCE):
            while not isinstance(event := await self.events.get(), kind):
                pass
        return event

    async def updated(self) -> IdentityState:
        return (await self.next(Updated)).state

    async def until(self, holds: Callable[[IdentityState | None], bool]) -> IdentityState | None:
        """The first state that `holds` is true of."""
        async with asyncio.timeout(PATIENCE):
            async for state in self.source.states():
                if holds(state):
                    return state
        raise AssertionError("the states of a source never end")

    async def withdrawn(self) -> None:
        await self.until(lambda state: state is None)

    async def path(self, path: str) -> IdentityState:
        """The first state of the workload at this path."""
        state = await self.until(lambda state: state is not None and state.svid.spiffe_id.path == path)
        assert state is not None
        return state

    @asynccontextmanager
    async def running(self, *others: Callable[[], Awaitable[None]]) -> AsyncIterator["Watch"]:
        """Run the source, and what it needs beside it."""
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(_run(run)) for run in (self.source.run, *others)]
            try:
                yield self
            finally:
                for run in runs:
                    run.cancel()


async def _run(run: Callable[[], Awaitable[None]]) -> None:
    await run()
