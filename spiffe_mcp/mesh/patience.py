"""How long one exchange waits for its answer: until it begins, between its pieces, and altogether.

    with Patience(limits, interruption) as patience:
        response = await ...                 # raises `Refused(UPSTREAM_TIMEOUT)` when it is over
        patience.heard()                     # something came: the wait begins anew

One timer for all waits of an exchange: `asyncio.timeout` around each would set and cancel one three times a
call. What is waited for is ended as by any `Interruption`.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.deadline import Deadline
from spiffe_mcp.mesh.interruption import Interruption


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long an answer may take: until something more comes, and altogether. Seconds."""

    idle: float = 300.0
    total: float = 3600.0


class Patience:
    """The waiting of one exchange, while inside; `interruption` may end it for other reasons, too."""

    __slots__ = ("_deadline", "_end", "_idle", "_loop", "_total", "interruption")

    def __init__(self, limits: StreamLimits, interruption: Interruption) -> None:
        self.interruption = interruption
        self._idle, self._total = limits.idle, limits.total
        self._loop = interruption.loop
        self._deadline = Deadline(self._loop)

    def heard(self) -> None:
        """Something came: as much time as at the beginning, but no more than is left of all."""
        self._deadline.set(min(self._idle, self._end - self._loop.time()), self._give_up)

    def last(self) -> None:
        """From now on a stream in which things rarely happen: nothing has to come until all is over."""
        self._idle = self._total
        self.heard()

    def _give_up(self) -> None:
        self.interruption.interrupt(Refused(Reason.UPSTREAM_TIMEOUT))

    def __enter__(self) -> Self:
        self.interruption.__enter__()
        self._end = self._loop.time() + self._total
        self.heard()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline.close()
        self.interruption.__exit__(kind, error, trace)
