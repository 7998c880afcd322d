"""A table that several processes share, of which any may die at any moment.

Enters: facts, and a segment of shared memory. Leaves: what is remembered. No process is its server: each does
its operations itself, one process at a time, in a few microseconds.

**One at a time.** A record lock (fcntl(2)) on the segment's file. The kernel gives it back when a process
dies. It is the process's own, not a thread's: one event loop uses a table. It also goes when the process
closes any descriptor of this file: nobody closes one before the table is done with.

**Death in the middle.** What is true stands in one place only: a slot whose `expires` is not 0 holds a fact.
That number is written last for a new fact, and first for one that goes, each time in one store. All else (the
index, the calendar, the counts) follows from it. Who begins an operation marks the table, and takes the mark
away at its end; who finds a mark knows that somebody died in the middle, and makes all else anew. So an
operation that was cut off is done or not done; only a value that was being replaced is forgotten. To forget
one fact fails closed: an unknown session, and no link accepted twice, for links are never replaced.

What making it anew costs: about 3 us for each fact, once for each death in the middle of an operation.
"""

from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_UN, lockf
from types import TracebackType
from typing import Final, Self

from spiffe_mcp.tables.calendar import Calendar
from spiffe_mcp.tables.index import Index
from spiffe_mcp.tables.segment import (
    DIRTY,
    FACTS_FREE,
    FACTS_USED,
    HOLDERS_FREE,
    HOLDERS_USED,
    LIVE,
    NOW,
    SWEPT,
    Geometry,
    Segment,
    clear,
)
from spiffe_mcp.tables.table import KEY_BYTES, MAX_VALUE_BYTES, Added, check_sizes

_AT_ONCE: Final = 32  # expired facts that one operation clears away, so that none takes long


class SharedTable:
    """See `Table`. A fact takes about 84 bytes and its value, a table what its facts ever took."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._header = segment.header
        self._expires = segment.expires
        self._capacity = segment.geometry.capacity
        self._value_bytes = segment.geometry.value_bytes
        self._facts = Index(segment, segment.keys, segment.fact_links, FACTS_USED, FACTS_FREE)
        self._holders = Index(segment, segment.holder_keys, segment.holder_links, HOLDERS_USED, HOLDERS_FREE)
        self._calendar = Calendar(segment)
        self._alone = _Alone(segment, self._recover)

    @classmethod
    def create(cls, capacity: int, salt: int, value_bytes: int = MAX_VALUE_BYTES) -> Self:
        """A new table; `salt` is 62 bits that nobody can guess."""
        return cls(Segment.create(Geometry(capacity, value_bytes), salt))

    @classmethod
    def of(cls, file: int) -> Self:
        """The table behind a descriptor that was handed over; raises `ValueError` if there is none."""
        return cls(Segment.of(file))

    def fileno(self) -> int:
        """The descriptor to hand over."""
        return self._segment.file

    def close(self) -> None:
        """Give back the descriptor. Nobody may use this object any more."""
        self._segment.close()

    def __len__(self) -> int:
        with self._alone:
            self._sweep()
            live: int = self._header[LIVE]
            return live

    @property
    def free(self) -> int:
        """See `Table`."""
        return self._capacity - len(self)

    def held_by(self, holder: bytes) -> int:
        """See `Table`."""
        with self._alone:
            self._sweep()
            return self._held(holder)

    def add(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> Added:
        """See `Table`."""
        check_sizes(key, value, holder, self._value_bytes)
        with self._alone:
            if expires <= self._tell(now):
                return Added.EXPIRED
            if self._find(key):
                return Added.PRESENT
            if not self._has_room(holder):
                return Added.FULL
            self._remember(key, value, holder, expires)
            return Added.ADDED

    def get(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        with self._alone:
            self._tell(now)
            slot = self._find(key)
            return self._value(slot) if slot else None

    def put(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        check_sizes(key, value, holder, self._value_bytes)
        with self._alone:
            if expires <= self._tell(now):
                return False
            slot = self._find(key)
            is_own = slot and self._holder(slot) == holder
            if not (is_own or self._has_room(holder)):
                return False
            if slot:
                self._forget(slot)
            self._remember(key, value, holder, expires)
            return True

    def touch(self, key: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        with self._alone:
            self._tell(now)
            slot = self._find(key)
            if slot and expires > self._expires[slot]:
                self._calendar.leave(slot)
                self._expires[slot] = expires
                self._calendar.enter(slot)
            return bool(slot)

    def take(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        with self._alone:
            self._tell(now)
            slot = self._find(key)
            if not slot:
                return None
            value = self._value(slot)
            self._forget(slot)
            return value

    def remove(self, key: bytes) -> None:
        """See `Table`."""
        with self._alone:
            slot = self._find(key)
            if slot:
                self._forget(slot)

    # -- all below is for one who is alone ------------------------------------------------------------------

    def _tell(self, now: int) -> int:
        """The table's time, which is `now` or later; clears away a part of what has expired."""
        header = self._header
        if now > header[NOW]:  # noqa: PLR1730  a store only where something changes
            header[NOW] = now
        if header[SWEPT] < header[NOW]:
            self._sweep(_AT_ONCE)
        told: int = header[NOW]
        return told

    def _sweep(self, most: int = -1) -> None:
        """Clear away what has expired: all, or so many."""
        for slot in self._calendar.due(most):
            self._forget(slot)

    def _find(self, key: bytes) -> int:
        """The slot of a fact that has not expired."""
        slot = self._facts.find(key)
        if slot and self._expires[slot] <= self._header[NOW]:
            self._forget(slot)
            return 0
        return slot

    def _has_room(self, holder: bytes) -> bool:
        """See `fair_share`."""
        if self._held(holder) < self._capacity - self._header[LIVE]:
            return True
        self._sweep()
        return self._held(holder) < self._capacity - self._header[LIVE]

    def _held(self, holder: bytes) -> int:
        count: int = self._segment.held[self._holders.find(holder)]
        return count

    def _holder(self, slot: int) -> bytes:
        at = self._segment.held_by + slot * KEY_BYTES
        return self._segment.octets[at : at + KEY_BYTES]

    def _value(self, slot: int) -> bytes:
        at = self._segment.values + slot * self._value_bytes
        return self._segment.octets[at : at + self._segment.octets[self._segment.lengths + slot]]

    def _remember(self, key: bytes, value: bytes, holder: bytes, expires: int) -> None:
        """A new fact under a key that has none."""
        segment, slot = self._segment, self._facts.enter(key)
        at = segment.held_by + slot * KEY_BYTES
        segment.octets[at : at + KEY_BYTES] = holder
        segment.octets[segment.lengths + slot] = len(value)
        if value:
            at = segment.values + slot * self._value_bytes
            segment.octets[at : at + len(value)] = value
        self._expires[slot] = expires  # from here on it is true
        self._count(slot, holder)

    def _count(self, slot: int, holder: bytes) -> None:
        """What follows from a fact that is true, besides its place in the index."""
        self._calendar.enter(slot)
        place = self._holders.find(holder) or self._holders.enter(holder)
        self._segment.held[place] += 1
        self._header[LIVE] += 1

    def _forget(self, slot: int) -> None:
        self._expires[slot] = 0  # from here on it is not true
        self._calendar.leave(slot)
        self._facts.leave(slot)
        self._header[LIVE] -= 1
        place, held = self._holders.find(self._holder(slot)), self._segment.held
        held[place] -= 1
        if not held[place]:
            self._holders.leave(place)

    def _recover(self) -> None:
        """Make anew what follows from the facts."""
        last = self._facts.used
        self._facts.clear(used=last)  # never less than it was: whoever dies in here is recovered from too
        self._holders.clear()
        self._calendar.clear()
        clear(self._segment.held)
        self._header[LIVE] = 0
        for slot in range(1, last + 1):
            if self._facts.restore(slot, is_taken=self._expires[slot] > self._header[NOW]):
                self._count(slot, self._holder(slot))
            else:
                self._expires[slot] = 0


class _Alone:
    """While inside, no other process is; and the table is whole, whoever died before."""

    def __init__(self, segment: Segment, recover: Callable[[], None]) -> None:
        self._file = segment.file
        self._header = segment.header
        self._recover = recover

    def __enter__(self) -> None:
        lockf(self._file, LOCK_EX)
        if self._header[DIRTY]:
            try:
                self._recover()
            except BaseException:
                lockf(self._file, LOCK_UN)
                raise
        self._header[DIRTY] = 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Left by an exception, the table stays marked: that was a death in the middle too.
        if kind is None:
            self._header[DIRTY] = 0
        lockf(self._file, LOCK_UN)
