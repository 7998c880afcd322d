"""A table of one process, owned by one event loop. Pure: no clock, no lock, no I/O.

A fact is a slot, and what all facts have stands packed in areas of one memory: no object for a fact. Facts of
one holder that expire in one second are a ring of slots, its bucket; holder and second stand there, once.
Only a value that is not empty is an object.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final

from spiffe_mcp.fair_share import FairShare
from spiffe_mcp.tables.index import Index
from spiffe_mcp.tables.segment import FACTS_FREE, FACTS_USED, SALT
from spiffe_mcp.tables.table import KEY_BYTES, MAX_VALUE_BYTES, Added, check_sizes

_AT_ONCE: Final = 32  # expired facts that one operation clears away, so that none takes long
_FACTS_A_CHAIN: Final = 4  # in a table that is full
_HEADER_WORDS: Final = 16
_WORD: Final = 8
_LINK: Final = 4


@dataclass(frozen=True, slots=True)
class _Extent:
    slots: int
    chains: int


class _Memory:
    """Areas for so many facts, of this process alone. A page takes memory from when it is first written."""

    def __init__(self, capacity: int) -> None:
        self.geometry = _Extent(capacity + 1, capacity // _FACTS_A_CHAIN + 1)
        slots, chains = self.geometry.slots, self.geometry.chains
        areas = [slots + chains, slots, slots, slots]
        self.keys = _HEADER_WORDS * _WORD
        self._end = self.keys + slots * KEY_BYTES
        self.octets = mmap(-1, self._end + sum(areas) * _LINK, flags=MAP_PRIVATE | MAP_ANONYMOUS)
        self.header = memoryview(self.octets)[: self.keys].cast("Q")
        self.links, self.after, self.before, self.bucket = (self._area(count) for count in areas)
        # Which chain a key belongs to is a secret of the process, as with its dictionaries.
        self.header[SALT] = hash(b"chains") & ((1 << 62) - 1)

    def _area(self, count: int) -> memoryview:
        start, self._end = self._end, self._end + count * _LINK
        return memoryview(self.octets)[start : self._end].cast("I")


class _Bucket:
    """What one holder has that expires in one second. `first` is a slot, and 0 if there is none."""

    __slots__ = ("expires", "first", "holder", "number")

    def __init__(self, holder: bytes, expires: int, number: int) -> None:
        self.holder = holder
        self.expires = expires
        self.number = number
        self.first = 0


class LocalTable:
    """See `Table`. An operation is O(1), but for those that count: they clear away all that has expired.

    A fact without a value takes 32 bytes, a chain 4, a table what its facts ever took.
    """

    def __init__(self, capacity: int) -> None:
        self._room = FairShare(capacity)
        self._memory = memory = _Memory(capacity)
        self._index = Index(memory, memory.keys, memory.links, FACTS_USED, FACTS_FREE)
        self._values: dict[int, bytes] = {}  # that are not empty, by slot
        self._buckets: list[_Bucket] = []  # by number
        self._unused: list[_Bucket] = []  # of these
        self._seconds: dict[int, dict[bytes, _Bucket]] = {}  # by holder
        self._coming: list[int] = []  # a heap of those seconds
        self._now = 0  # the latest that was told

    def __len__(self) -> int:
        self._sweep()
        return self._room.taken

    @property
    def free(self) -> int:
        """See `Table`."""
        self._sweep()
        return self._room.free

    def held_by(self, holder: bytes) -> int:
        """See `Table`."""
        self._sweep()
        return self._room.held_by(holder)

    def add(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> Added:
        """See `Table`."""
        check_sizes(key, value, holder, MAX_VALUE_BYTES)
        if expires <= self._tell(now):
            return Added.EXPIRED
        if self._find(key):
            return Added.PRESENT
        if not self._take_room(holder):
            return Added.FULL
        self._remember(key, value, holder, expires)
        return Added.ADDED

    def get(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        self._tell(now)
        slot = self._find(key)
        return self._values.get(slot, b"") if slot else None

    def put(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        check_sizes(key, value, holder, MAX_VALUE_BYTES)
        if expires <= self._tell(now):
            return False
        slot = self._find(key)
        known = self._bucket(slot).holder if slot else None
        if known != holder and not self._take_room(holder):
            return False
        if known is not None:
            self._erase(slot)
            if known != holder:
                self._room.give_back(known)
        self._remember(key, value, holder, expires)
        return True

    def touch(self, key: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        self._tell(now)
        slot = self._find(key)
        if slot and expires > self._bucket(slot).expires:
            holder = self._bucket(slot).holder
            self._leave(slot)
            self._enter(slot, holder, expires)
        return bool(slot)

    def take(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        value = self.get(key, now)
        self.remove(key)
        return value

    def remove(self, key: bytes) -> None:
        """See `Table`."""
        slot = self._find(key)
        if slot:
            self._forget(slot)

    def _tell(self, now: int) -> int:
        """The table's time, which is `now` or later; clears away a part of what has expired."""
        if now > self._now:  # noqa: PLR1730  it is a call less
            self._now = now
        if self._coming and self._coming[0] <= self._now:
            self._sweep(_AT_ONCE)
        return self._now

    def _sweep(self, most: int = -1) -> None:
        """Clear away what has expired: all, or so many."""
        for slot in self._due():
            if not most:
                return
            most -= 1
            self._forget(slot)

    def _due(self) -> Iterator[int]:
        """Slots that have expired. Who takes one forgets it before the next, or asks for no other."""
        while self._coming and self._coming[0] <= self._now:
            in_second = self._seconds[self._coming[0]]
            while in_second:
                yield next(iter(in_second.values())).first
            del self._seconds[heappop(self._coming)]

    def _find(self, key: bytes) -> int:
        """The slot of a fact that has not expired."""
        slot = self._index.find(key)
        if slot and self._bucket(slot).expires <= self._now:
            self._forget(slot)
            return 0
        return slot

    def _take_room(self, holder: bytes) -> bool:
        if self._room.take(holder):
            return True
        self._sweep()
        return self._room.take(holder)

    def _remember(self, key: bytes, value: bytes, holder: bytes, expires: int) -> None:
        """A new fact under a key that has none, when room was taken for it."""
        slot = self._index.enter(key)
        self._enter(slot, holder, expires)
        if value:
            self._values[slot] = value

    def _forget(self, slot: int) -> None:
        self._room.give_back(self._bucket(slot).holder)
        self._erase(slot)

    def _erase(self, slot: int) -> None:
        """Nothing is there any more; who held it still has its room."""
        self._leave(slot)
        self._index.leave(slot)
        self._values.pop(slot, None)

    def _bucket(self, slot: int) -> _Bucket:
        return self._buckets[self._memory.bucket[slot]]

    def _enter(self, slot: int, holder: bytes, expires: int) -> None:
        """The slot is of this holder, and ends then."""
        memory, bucket = self._memory, self._bucket_for(holder, expires)
        memory.bucket[slot] = bucket.number
        memory.after[slot], memory.before[slot] = bucket.first, 0
        memory.before[bucket.first] = slot  # of slot 0 it means nothing
        bucket.first = slot

    def _leave(self, slot: int) -> None:
        """It is no one's; an empty bucket goes, too."""
        memory, bucket = self._memory, self._bucket(slot)
        after, before = memory.after[slot], memory.before[slot]
        memory.before[after] = before
        if before:
            memory.after[before] = after
            return
        bucket.first = after
        if not after:
            del self._seconds[bucket.expires][bucket.holder]
            self._unused.append(bucket)

    def _bucket_for(self, holder: bytes, expires: int) -> _Bucket:
        in_second = self._seconds.get(expires)
        if in_second is None:
            in_second = self._seconds[expires] = {}
            heappush(self._coming, expires)
        bucket = in_second.get(holder)
        if bucket is None:
            bucket = in_second[holder] = self._new_bucket(holder, expires)
        return bucket

    def _new_bucket(self, holder: bytes, expires: int) -> _Bucket:
        if not self._unused:
            self._buckets.append(_Bucket(holder, expires, len(self._buckets)))
            return self._buckets[-1]
        bucket = self._unused.pop()
        bucket.holder, bucket.expires = holder, expires
        return bucket
