"""Where a key stands: a hash table with chains, over areas of a segment.

Enters: a key of 16 bytes. Leaves: a slot, 0 for none. It must not know what else stands in a slot.

The area of links has one for each slot (the next of its chain, or the next that is free), and after these one
for each chain (its first). Which chain a key belongs to depends on a secret of the table: nobody can choose
keys that are all of one chain.
"""

from mmap import mmap
from typing import Final, Protocol

from spiffe_mcp.tables.segment import SALT, clear
from spiffe_mcp.tables.table import KEY_BYTES

_LEAST_DIVISOR: Final = 1 << 62


class Extent(Protocol):
    """How large it is."""

    @property
    def slots(self) -> int:
        """With the one that is none."""

    @property
    def chains(self) -> int:
        """How many of them its links have room for."""


class Areas(Protocol):
    """The memory that an index is over, a `Segment` or less."""

    @property
    def octets(self) -> mmap:
        """All of it."""

    @property
    def header(self) -> memoryview:
        """The words at its start."""

    @property
    def geometry(self) -> Extent:
        """How large it is."""


class Index:
    """`used` and `free` are words of the header: how many slots were ever taken, and the first free."""

    def __init__(self, segment: Areas, keys: int, links: memoryview, used: int, free: int) -> None:
        self._octets = segment.octets
        self._header = segment.header
        self._keys = keys
        self._links = links
        self._used = used
        self._free = free
        self._slots = segment.geometry.slots
        self._chains = segment.geometry.chains
        self._divisor = segment.header[SALT] | _LEAST_DIVISOR | 1

    @property
    def used(self) -> int:
        """No slot after this one was ever taken."""
        taken: int = self._header[self._used]
        return taken

    def find(self, key: bytes) -> int:
        """The slot of `key`."""
        links, octets = self._links, self._octets
        slot: int = links[self._chain(key)]
        while slot:
            at = self._keys + slot * KEY_BYTES
            if octets[at : at + KEY_BYTES] == key:
                return slot
            slot = links[slot]
        return 0

    def enter(self, key: bytes) -> int:
        """A slot for `key`, which has none. There has to be a free one."""
        slot: int = self._header[self._free]
        if slot:
            self._header[self._free] = self._links[slot]
        else:
            slot = self._header[self._used] + 1
            self._header[self._used] = slot
        at = self._keys + slot * KEY_BYTES
        self._octets[at : at + KEY_BYTES] = key
        self._link(slot, key)
        return slot

    def leave(self, slot: int) -> None:
        """The slot is free."""
        links = self._links
        at = self._chain(self._key(slot))
        while links[at] != slot:
            at = links[at]
        links[at] = links[slot]
        self._release(slot)

    def clear(self, used: int = 0) -> None:
        """Forget every key. What stands in the first `used` slots stays, for `restore`."""
        clear(self._links)
        self._header[self._free] = 0
        self._header[self._used] = used

    def restore(self, slot: int, *, is_taken: bool) -> bool:
        """After `clear`, once for each slot: what it is. False if it is free, or its key has another one."""
        key = self._key(slot)
        is_taken = is_taken and not self.find(key)
        if is_taken:
            self._link(slot, key)
        else:
            self._release(slot)
        return is_taken

    def _chain(self, key: bytes) -> int:
        return self._slots + int.from_bytes(key, "little") % self._divisor % self._chains

    def _key(self, slot: int) -> bytes:
        at = self._keys + slot * KEY_BYTES
        return self._octets[at : at + KEY_BYTES]

    def _link(self, slot: int, key: bytes) -> None:
        chain = self._chain(key)
        self._links[slot] = self._links[chain]
        self._links[chain] = slot

    def _release(self, slot: int) -> None:
        self._links[slot] = self._header[self._free]
        self._header[self._free] = slot
