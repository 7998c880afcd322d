"""A deadline that is moved with every message, and hardly ever met.

A timer of the event loop costs microseconds to set and to cancel, and a connection that works would do both
several times for each message. Here to move the deadline is to write down another time: one timer looks at
it, later than it could at most by a millisecond, and sleeps on if it has moved.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_GRAIN: Final = 0.001  # seconds; loops count in milliseconds


class Deadline:
    """At most one time to come, and what happens then. For one event loop, by default the running one."""

    __slots__ = ("_due", "_looks_at", "_loop", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._due = 0.0
        self._then: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0

    def set(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in so many seconds, and whatever was to be called before no more."""
        self._then = then
        self._due = due = self._loop.time() + seconds
        if self._timer is None or due < self._looks_at:
            self._look_at(due)

    def clear(self) -> None:
        """Call nothing, until it is set anew."""
        self._then = None

    def close(self) -> None:
        """Call nothing ever: the timer lets go of this object, and of what it would have called."""
        self._then = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._then is None:
            return
        if self._due - self._loop.time() > _GRAIN:
            self._look_at(self._due)
            return
        then, self._then = self._then, None
        then()
