"""When a program that ended may be started again: at once, then later and later. Pure."""

from typing import Final

FIRST: Final = 0.5  # seconds
LONGEST: Final = 30.0  # seconds
SETTLED: Final = 10.0  # seconds of life after which a process counts as one that works


class BackOff:
    """0, 0.5, 1, 2 ... 30 s, from the beginning again after a process that lived for `SETTLED`.

    Times are seconds of any clock.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = 0.0

    def ended(self, started: float, now: float) -> None:
        """A process that was started then has ended of itself."""
        self._failures = 1 if now - started >= SETTLED else self._failures + 1
        self._not_before = now + self._pause()

    def remaining(self, now: float) -> float:
        """How many seconds are still to be waited."""
        return max(0.0, self._not_before - now)

    def _pause(self) -> float:
        if self._failures == 1:
            return 0.0
        return min(LONGEST, FIRST * (1 << min(self._failures - 2, 16)))
