"""A value that changes and those who follow it: the last value at once, then each later one.

Enters: values, from one writer. Leaves: the newest value to any number of readers of the same event loop; a
slow reader skips what it missed and never holds up the writer. Knows nothing of what the value means.
"""

import asyncio
from typing import Generic, TypeVar

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
