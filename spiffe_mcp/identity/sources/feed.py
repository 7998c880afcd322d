"""A value that changes and those who follow it: the newest value at once, then each later one.

Enters: values, from one writer. Leaves: the newest value to any number of readers of the same event loop. A
slow reader misses values but never the newest one, and never holds up the writer. `Feed` knows nothing of
what the value means; `IdentityFeed` is what each source of identity publishes into.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from spiffe_mcp.identity.state import IdentityState

T = TypeVar("T")


class FeedClosed(Exception):  # noqa: N818  the end of a feed is not an error
    """No value will follow."""


class Feed(Generic[T]):
    """The newest value, and the news that there is one."""

    def __init__(self, first: T) -> None:
        self._newest = first
        self._news = asyncio.Event()
        self._closed = False

    @property
    def newest(self) -> T:
        """The value now."""
        return self._newest

    def publish(self, value: T) -> None:
        """Replace the value; everyone who waits wakes."""
        self._newest = value
        self._wake()

    def close(self) -> None:
        """End the feed for everyone who follows it."""
        self._closed = True
        self._wake()

    async def after(self, seen: T | None) -> T:
        """The newest value as soon as it is another than `seen`; raises `FeedClosed`."""
        while self._newest is seen and not self._closed:
            await self._news.wait()
        if self._closed:
            raise FeedClosed
        return self._newest

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class IdentityFeed:
    """Holds at most one state; None means: no identity, so nothing may be dialled or accepted."""

    def __init__(self) -> None:
        self._feed: Feed[IdentityState | None] = Feed(None)

    @property
    def current(self) -> IdentityState | None:
        """The newest state. Ask `valid_at` before it is used: a source that is down does not renew it."""
        return self._feed.newest

    def publish(self, state: IdentityState | None) -> None:
        """Put `state` in force and wake everybody who waits."""
        self._feed.publish(state)

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one."""
        while (state := self._feed.newest) is None:
            await self._feed.after(None)
        return state

    async def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""
        state = self._feed.newest
        while True:
            yield state
            state = await self._feed.after(state)
