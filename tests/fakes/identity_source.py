"""A source of identity that says what the test says, when the test says it.

source = FakeSource()
source.feed.publish(state)      # or None: withdrawn
source.fail(refused)            # `run` raises it, at once or as soon as it runs
source.runs, source.ended       # how often it was run, and whether no run goes on
"""

import asyncio
from collections.abc import AsyncIterator

from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.state import IdentityState


class FakeSource:
    """The source. It has no other state than what the test gives it."""

    def __init__(self) -> None:
        self.feed = IdentityFeed()
        self.running = asyncio.Event()
        self.ended = asyncio.Event()
        self._failure: Exception | None = None
        self._failed = asyncio.Event()

    def fail(self, failure: Exception) -> None:
        self._failure = failure
        self._failed.set()

    @property
    def current(self) -> IdentityState | None:
        return self.feed.current

    async def wait_ready(self) -> IdentityState:
        return await self.feed.wait_ready()

    def states(self) -> AsyncIterator[IdentityState | None]:
        return self.feed.states()

    async def run(self) -> None:
        self.running.set()
        try:
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure
        finally:
            self.ended.set()
