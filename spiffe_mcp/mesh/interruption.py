"""Ending what runs for a reason of its own: a cancellation that comes out as the `Refused` that it was for.

    interruption = Interruption()
    with interruption.possible():            # in the task that may be ended
        ...
    interruption.interrupt(refused)          # from elsewhere: the inside raises `refused`

As `asyncio.timeout`, which turns its own cancellation into a TimeoutError. Scopes may nest: the innermost
raises, and those around it see an ordinary `Refused`.
"""

import asyncio
from types import TracebackType
from typing import Self

from spiffe_mcp.errors import Refused


class Interruption:
    """The way to end what runs inside `possible`; of one task, one at a time, on the loop it was made on."""

    def __init__(self) -> None:
        # Kept, because to ask for the running loop is a system call in CPython 3.11.
        self.loop = asyncio.get_running_loop()
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

    def possible(self) -> Self:
        """A context whose inside may be interrupted; raises the `Refused` that it was interrupted for."""
        return self  # no generator: it is entered twice with every call

    def __enter__(self) -> None:
        if not self._depth:
            self._task = asyncio.current_task(self.loop)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        because, task = self._because, self._task
        self._depth -= 1
        if not self._depth:
            self._task = self._because = None
        if because is not None and task is not None and isinstance(error, asyncio.CancelledError):
            # Should somebody else have cancelled too, because the connection is gone say: the reason is worth
            # more than the cancellation, and the task ends either way.
            task.uncancel()
            self._because = None
            raise because from None
