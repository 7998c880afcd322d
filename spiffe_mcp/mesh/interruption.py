"""Ending what runs for a reason of its own: a cancellation that comes out as the `Refused` that it was for.

    interruption = Interruption()
    with interruption.possible():            # in the task that may be ended
        ...
    interruption.interrupt(refused)          # from elsewhere: the inside raises `refused`

As `asyncio.timeout`, which turns its own cancellation into a TimeoutError. Scopes may nest: the innermost
raises, and those around it see an ordinary `Refused`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from spiffe_mcp.errors import Refused


class Interruption:
    """The way to end what runs inside `possible`; of one task, one at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._depth = 0
        self._because: Refused | None = None

    @property
    def running(self) -> bool:
        """Whether there is anything to interrupt."""
        return self._depth > 0

    def interrupt(self, refused: Refused) -> None:
        """Whatever is inside `possible` now ends with `refused`; the first reason counts."""
        if self._task is not None and self._because is None:
            self._because = refused
            self._task.cancel()

    @contextmanager
    def possible(self) -> Iterator[None]:
        """The inside may be interrupted; raises the `Refused` that it was interrupted for."""
        self._task, self._depth = asyncio.current_task(), self._depth + 1
        try:
            yield
        except asyncio.CancelledError:
            if self._because is None or self._task is None:
                raise
            # Should somebody else have cancelled too, because the connection is gone say: the reason is worth
            # more than the cancellation, and the task ends either way.
            self._task.uncancel()
            because, self._because = self._because, None
            raise because from None
        finally:
            self._depth -= 1
            if not self._depth:
                self._task = self._because = None
