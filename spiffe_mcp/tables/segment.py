"""The memory of a shared table: one anonymous file, mapped by every process that has its descriptor.

Enters: how many facts of which size, or a descriptor that was handed over. Leaves: the areas that a table
consists of, as arrays. It must not know what the areas mean to each other.

The file's size is sealed (memfd_create(2)): no process that has the descriptor can cut it, which would be the
end of the others. Slots are counted from 1; 0 is none. A page takes memory from when it is first written.

A number is written in one store of its size, as it is in the machine (`memoryview` of a native format): a
process that dies has written it or has not. Bytes are not so: whoever writes them says by a number that they
count.
"""

import fcntl
import os
from dataclasses import dataclass
from mmap import mmap
from typing import Final, Literal, Self

from spiffe_mcp.tables.table import KEY_BYTES, MAX_VALUE_BYTES

SECONDS: Final = 4096  # of the calendar
MOST_FACTS: Final = 1 << 24

_MAGIC: Final = 0x5F5E_6D63_7074_0001
_HEADER_WORDS: Final = 16
_WORD: Final = 8
_LINK: Final = 4

# Words of the header.
MAGIC, CAPACITY, VALUE_BYTES, SALT, DIRTY, NOW, SWEPT, LIVE = range(8)
FACTS_USED, FACTS_FREE, HOLDERS_USED, HOLDERS_FREE = range(8, 12)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How large a table is."""

    capacity: int
    value_bytes: int

    def __post_init__(self) -> None:
        if not (0 <= self.capacity <= MOST_FACTS and 0 <= self.value_bytes <= MAX_VALUE_BYTES):
            raise ValueError(f"a table of {self.capacity} facts with values of {self.value_bytes} bytes")

    @property
    def slots(self) -> int:
        """With the one that is none."""
        return self.capacity + 1

    @property
    def chains(self) -> int:
        """Of an index: one for each fact or holder that there can be."""
        return max(1, self.capacity)

    @property
    def links(self) -> tuple[int, ...]:
        """How many numbers of 32 bits, area by area, as in `Segment`."""
        chained = self.slots + self.chains
        return (chained, chained, self.slots, self.slots + SECONDS, self.slots)

    @property
    def octets(self) -> tuple[int, ...]:
        """How many bytes, area by area, as in `Segment`."""
        keys = self.slots * KEY_BYTES
        return (keys, keys, keys, self.slots, self.slots * self.value_bytes)

    @property
    def size(self) -> int:
        """Of all of it, in bytes."""
        return _WORD * (_HEADER_WORDS + self.slots) + _LINK * sum(self.links) + sum(self.octets)


class Segment:
    """The areas of one table. Of those that are bytes stands here where they begin in `octets`."""

    def __init__(self, file: int, geometry: Geometry) -> None:
        self.file = file
        self.geometry = geometry
        self.octets = mmap(file, geometry.size)
        self._end = 0
        whole = memoryview(self.octets)
        self.header = self._area(whole, "Q", _HEADER_WORDS)
        self.expires = self._area(whole, "Q", geometry.slots)
        links = [self._area(whole, "I", count) for count in geometry.links]
        self.fact_links, self.holder_links, self.held, self.due_links, self.due_before = links
        starts = [self._next(count) for count in geometry.octets]
        self.keys, self.holder_keys, self.held_by, self.lengths, self.values = starts

    @classmethod
    def create(cls, geometry: Geometry, salt: int) -> Self:
        """A new one, empty; nobody else has it."""
        file = os.memfd_create("spiffe-mcp-table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(file, geometry.size)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            made = cls(file, geometry)
        except BaseException:
            os.close(file)
            raise
        written = {CAPACITY: geometry.capacity, VALUE_BYTES: geometry.value_bytes, SALT: salt, MAGIC: _MAGIC}
        for word, value in written.items():
            made.header[word] = value
        return made

    @classmethod
    def of(cls, file: int) -> Self:
        """The one behind `file`, which another process made. Raises `ValueError` if it is none."""
        with mmap(file, _WORD * _HEADER_WORDS) as start:
            header = memoryview(start[:]).cast("Q")
        geometry = Geometry(header[CAPACITY], header[VALUE_BYTES])
        if header[MAGIC] != _MAGIC or os.fstat(file).st_size != geometry.size:
            raise ValueError(f"descriptor {file} is no table of this version")
        return cls(file, geometry)

    def close(self) -> None:
        """Give back the descriptor; the memory goes with this object. Nobody may use the table any more."""
        os.close(self.file)

    def _area(self, whole: memoryview, form: Literal["Q", "I"], count: int) -> memoryview:
        start = self._next(count * (_WORD if form == "Q" else _LINK))
        return whole[start : self._end].cast(form)

    def _next(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        start, self._end = self._end, self._end + size
        return start


def clear(area: memoryview) -> None:
    """Make every number of it 0."""
    octets = area.cast("B")
    octets[:] = bytes(len(octets))
