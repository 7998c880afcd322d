"""Which of a server's places to try, and in which order, by what became of those tried before. Pure.

In: places, the time in seconds of a clock that never goes back, a random number. Out: an order. A place
that failed is ejected for a while that doubles each time; it is tried before that only when no other is left,
for a refusal without a try would make an outage of a bad minute. What a place is, this module does not know.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

P = TypeVar("P", bound=Hashable)

FIRST: Final = 1.0  # seconds
LONGEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Ejected:
    failures: int
    until: float


class Ejections(Generic[P]):
    """The places that failed, and for how long each is left alone."""

    def __init__(self) -> None:
        self._ejected: dict[P, _Ejected] = {}

    def order(self, places: tuple[P, ...], now: float) -> tuple[P, ...]:
        """All `places`: first those that are not ejected, as they stand; then those soonest to be tried."""
        if not self._ejected:
            return places
        return tuple(sorted(places, key=lambda place: self._until(place, now)))

    def failed(self, place: P, now: float, jitter: float) -> None:
        """Eject `place`, for between half and all of its time, by `jitter` from 0 to 1.

        A place that is ejected stays so for as long as it was: calls that failed together failed once.
        """
        if self._until(place, now) > now:
            return
        self._forget(now)
        known = self._ejected.get(place)
        failures = known.failures + 1 if known else 1
        longest = min(FIRST * 2 ** min(failures - 1, 16), LONGEST)
        self._ejected[place] = _Ejected(failures, now + longest * (1 + jitter) / 2)

    def succeeded(self, place: P) -> None:
        """`place` is as good as one that never failed."""
        self._ejected.pop(place, None)

    def _until(self, place: P, now: float) -> float:
        """When `place` may be tried; `now` if it may be at once, so that equal ones keep their order."""
        known = self._ejected.get(place)
        return max(known.until, now) if known else now

    def _forget(self, now: float) -> None:
        """What nobody has tried for long, as places that no configuration names any more."""
        for place in [p for p, known in self._ejected.items() if known.until + LONGEST < now]:
            del self._ejected[place]
