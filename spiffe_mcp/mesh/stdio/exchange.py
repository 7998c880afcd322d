"""What one HTTP request waits for: messages for it, in order, until the last. Never without measure.

One process speaks to many, so it is never held up by one who does not read; what he does not read is kept for
him, and counted. Where all that is kept becomes too much, whoever has most of it loses his answer, and no
other.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from spiffe_mcp.errors import Reason, Refused

MAX_UNREAD: Final = 8 * 1024 * 1024  # bytes, of one process


class Piece(NamedTuple):
    """One message; `is_last`: nothing follows it."""

    message: bytes
    is_last: bool


class Unread:
    """The exchanges of one process, and what is kept for all of them."""

    def __init__(self, most: int = MAX_UNREAD) -> None:
        self._most = most
        self._kept: dict[Exchange, int] = {}

    def add(self, exchange: "Exchange", count: int) -> None:
        """So many bytes more (or fewer) are kept for `exchange`."""
        self._kept[exchange] = self._kept.get(exchange, 0) + count
        if not self._kept[exchange]:
            del self._kept[exchange]
        if sum(self._kept.values()) > self._most:
            greatest = max(self._kept, key=lambda one: self._kept[one])
            greatest.fail(Refused(Reason.STDIO_UNREAD, f"more than {self._most} bytes"))


class Exchange:
    """Messages for one who asked. `fail` ends it for the worse; what was kept is dropped then."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._pieces: deque[Piece] = deque()
        self._failure: Refused | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._is_over

    def put(self, message: bytes, *, is_last: bool) -> None:
        """One more message; nothing after the last, or after a failure."""
        if self._is_over:
            return
        self._is_over = is_last
        self._pieces.append(Piece(message, is_last))
        self._unread.add(self, len(message))
        self._wake()

    def fail(self, refused: Refused) -> None:
        """No answer will come, for this reason. The first reason counts; an answer that is there stays."""
        if self._failure is not None or (self._is_over and refused.reason is not Reason.STDIO_UNREAD):
            return
        self._failure, self._is_over = refused, True
        self._drop()
        self._wake()

    def leave(self) -> None:
        """Nobody reads it any more."""
        self._is_over = True
        self._drop()

    async def next(self) -> Piece:
        """The next message; raises what it failed with."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
        piece = self._pieces.popleft()
        self._unread.add(self, -len(piece.message))
        return piece

    def _drop(self) -> None:
        kept = sum(len(piece.message) for piece in self._pieces)
        self._pieces.clear()
        if kept:
            self._unread.add(self, -kept)

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
