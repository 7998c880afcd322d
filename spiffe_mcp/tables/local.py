"""A table of one process: dictionaries, owned by one event loop. Pure: no clock, no lock, no I/O."""

from heapq import heappop, heappush
from typing import Final

from spiffe_mcp.fair_share import FairShare
from spiffe_mcp.tables.table import MAX_VALUE_BYTES, Added, check_sizes

_FEW: Final = 16  # that may be gone from a bucket before it is worth a tidying


class _Bucket:
    """The keys of what one holder has that expires in one second, and some that are gone from there."""

    __slots__ = ("expires", "gone", "holder", "keys")

    def __init__(self, holder: bytes, expires: int) -> None:
        self.holder = holder
        self.expires = expires
        self.keys: list[bytes] = []
        self.gone = 0


class LocalTable:
    """See `Table`. An operation is O(1) amortised, for facts are dropped a bucket at a time.

    A fact without a value takes about 150 bytes: its key, and where it stands.
    """

    def __init__(self, capacity: int) -> None:
        self._room = FairShare(capacity)
        self._where: dict[bytes, _Bucket] = {}
        self._values: dict[bytes, bytes] = {}  # that are not empty
        self._buckets: dict[int, dict[bytes, _Bucket]] = {}  # by second, then by holder
        self._seconds: list[int] = []  # a heap of those that have buckets
        self._now = 0  # the latest that was told

    def __len__(self) -> int:
        return len(self._where)

    @property
    def free(self) -> int:
        """See `Table`."""
        return self._room.free

    def held_by(self, holder: bytes) -> int:
        """See `Table`."""
        return self._room.held_by(holder)

    def add(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> Added:
        """See `Table`."""
        check_sizes(key, value, holder, MAX_VALUE_BYTES)
        if now > self._now:
            self._forget_until(now)
        if expires <= self._now:
            return Added.EXPIRED
        if key in self._where:
            return Added.PRESENT
        if not self._room.take(holder):
            return Added.FULL
        self._enter(key, value, holder, expires)
        return Added.ADDED

    def get(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        self._forget_until(now)
        return self._values.get(key, b"") if key in self._where else None

    def put(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        check_sizes(key, value, holder, MAX_VALUE_BYTES)
        self._forget_until(now)
        if expires <= self._now:
            return False
        known = self._where.get(key)
        if (known is None or known.holder != holder) and not self._room.take(holder):
            return False
        if known is not None:
            self._leave(key)
            if known.holder != holder:
                self._room.give_back(known.holder)
        self._enter(key, value, holder, expires)
        return True

    def touch(self, key: bytes, expires: int, now: int) -> bool:
        """See `Table`."""
        self._forget_until(now)
        known = self._where.get(key)
        if known is not None and expires > known.expires:
            self._enter(key, self._leave(key), known.holder, expires)
        return known is not None

    def take(self, key: bytes, now: int) -> bytes | None:
        """See `Table`."""
        value = self.get(key, now)
        self.remove(key)
        return value

    def remove(self, key: bytes) -> None:
        """See `Table`."""
        known = self._where.get(key)
        if known is not None:
            self._leave(key)
            self._room.give_back(known.holder)

    def _enter(self, key: bytes, value: bytes, holder: bytes, expires: int) -> None:
        in_second = self._buckets.get(expires)
        if in_second is None:
            in_second = self._buckets[expires] = {}
            heappush(self._seconds, expires)
        bucket = in_second.get(holder)
        if bucket is None:
            bucket = in_second[holder] = _Bucket(holder, expires)
        bucket.keys.append(key)
        self._where[key] = bucket
        if value:
            self._values[key] = value

    def _leave(self, key: bytes) -> bytes:
        """Take a fact out of its bucket; who held it still does. Returns its value."""
        bucket = self._where.pop(key)
        bucket.gone += 1
        # The key itself stays in the bucket until half of them are such.
        if bucket.gone > len(bucket.keys) // 2 + _FEW:
            bucket.keys = [kept for kept in dict.fromkeys(bucket.keys) if self._where.get(kept) is bucket]
            bucket.gone = 0
        return self._values.pop(key, b"")

    def _forget_until(self, now: int) -> None:
        self._now = max(self._now, now)
        while self._seconds and self._seconds[0] <= self._now:
            for bucket in self._buckets.pop(heappop(self._seconds)).values():
                self._drop(bucket)

    def _drop(self, bucket: _Bucket) -> None:
        dropped = 0
        for key in bucket.keys:
            if self._where.get(key) is bucket:
                del self._where[key]
                self._values.pop(key, None)
                dropped += 1
        if dropped:
            self._room.give_back(bucket.holder, dropped)
