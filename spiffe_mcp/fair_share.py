"""A limit that no one holder can use up: room for a number of things, shared by those who hold them.

No holder may hold more than is still free, so one alone fills half of it, and what is left to the others is
halved by each who does the same. So it takes many holders in league to leave nothing: eleven for room for
1024 things, each of whom counts by itself. Pure.
"""

from collections import Counter
from collections.abc import Hashable


class FairShare:
    """Room for `limit` things."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._held: Counter[Hashable] = Counter()

    @property
    def free(self) -> int:
        """Room for so many more, of all holders."""
        return self._limit - self._taken

    @property
    def taken(self) -> int:
        """How many all holders have."""
        return self._taken

    def held_by(self, holder: Hashable) -> int:
        """How many `holder` has."""
        return self._held[holder]

    def take(self, holder: Hashable) -> bool:
        """Whether `holder` may have one more; if so, it has it."""
        if self._held[holder] >= self.free:
            return False
        self._taken += 1
        self._held[holder] += 1
        return True

    def give_back(self, holder: Hashable, count: int = 1) -> None:
        """`holder` has `count` less."""
        self._taken -= count
        self._held[holder] -= count
        if not self._held[holder]:
            del self._held[holder]


class Holder:
    """The room as one holder sees it."""

    def __init__(self, room: FairShare, holder: Hashable) -> None:
        self._room = room
        self._holder = holder

    def take(self) -> bool:
        """Whether this holder may have one more; if so, it has it."""
        return self._room.take(self._holder)

    def give_back(self) -> None:
        """This holder has one less."""
        self._room.give_back(self._holder)
