"""The newest of what was found, and no more of it than there is room for.

For answers that are costly to find and follow from their key alone. Whoever keeps one knows what ends it; an
answer that is asked for and is not here has to be found again. Pure: no clock, no lock (one event loop owns
it).
"""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V]):
    """A dictionary of at most `capacity` entries: when it is full, the oldest makes room."""

    __slots__ = ("_capacity",)

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def keep(self, key: K, value: V) -> V:
        """`value`, from now on the newest entry, under `key`."""
        self.pop(key, None)
        while len(self) >= self._capacity:
            del self[next(iter(self))]
        self[key] = value
        return value
