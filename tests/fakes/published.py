"""A source of identity that holds what the test publishes."""

import asyncio
from collections.abc import AsyncIterator

from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.state import IdentityState


class Published:
    """An `IdentitySource` without anything behind it."""

    def __init__(self, state: IdentityState | None = None) -> None:
        self._feed = IdentityFeed()
        self._feed.publish(state)

    def publish(self, state: IdentityState | None) -> None:
        self._feed.publish(state)

    @property
    def current(self) -> IdentityState | None:
        return self._feed.current

    async def wait_ready(self) -> IdentityState:
        return await self._feed.wait_ready()

    def states(self) -> AsyncIterator[IdentityState | None]:
        return self._feed.states()

    async def run(self) -> None:
        await asyncio.Event().wait()
