"""What a table is: facts under a key, each held by somebody, each until some second.

Enters: keys and holders as digests of 16 bytes (`digest`), values of at most 64 bytes, times in whole seconds
since 1970. Leaves: what is remembered, and whether there was room. A table must not know what its facts mean.

What holds of every table:

 - a fact is there while `now < expires`;
 - a table's clock never goes back: it goes by the latest `now` that it was told, so that what was forgotten
   while a clock ran ahead is not taken for new when it is set back;
 - it never forgets a fact that has not expired. Full, it takes no more;
 - no holder has more facts than there is room left, so nobody takes all of it: see `fair_share`;
 - each operation is one: whoever else uses the table sees it done or not done.
"""

from enum import Enum
from hashlib import blake2b
from typing import Final, Protocol

KEY_BYTES: Final = 16
MAX_VALUE_BYTES: Final = 64
_LENGTH_BYTES: Final = 4


class Added(Enum):
    """What became of a fact that was to be added."""

    ADDED = "added"
    PRESENT = "present"  # there is one under this key; it stays as it is
    FULL = "full"  # no room, or none for this holder
    EXPIRED = "expired"  # over by the clock of the table: it may have been there and been forgotten


class Table(Protocol):
    """A bounded memory of facts. Raises `ValueError` for a key, holder or value of the wrong size."""

    def add(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> Added:
        """Remember a fact, unless there is one under `key`."""

    def get(self, key: bytes, now: int) -> bytes | None:
        """The value under `key`."""

    def put(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> bool:
        """Remember a fact in place of the one under `key`, if any; False if there was no room: as before."""

    def touch(self, key: bytes, expires: int, now: int) -> bool:
        """Let the fact under `key` last until `expires`, never shorter than it would, if there is one."""

    def take(self, key: bytes, now: int) -> bytes | None:
        """The value under `key`, for the first who asks: it is gone then."""

    def remove(self, key: bytes) -> None:
        """Forget what is under `key`, if anything is."""

    def held_by(self, holder: bytes) -> int:
        """How many facts `holder` has."""

    @property
    def free(self) -> int:
        """Room for so many more facts, of all holders."""

    def __len__(self) -> int: ...


def digest(*parts: str | bytes) -> bytes:
    """A key or a holder, made of `parts`, each with its length: no two lists of parts are alike."""
    hashed = blake2b(digest_size=KEY_BYTES)
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        hashed.update(len(octets).to_bytes(_LENGTH_BYTES, "big"))
        hashed.update(octets)
    return hashed.digest()


def check_sizes(key: bytes, value: bytes, holder: bytes, value_bytes: int) -> None:
    """Return if they fit into a table for values of at most `value_bytes`; raises `ValueError`."""
    if len(key) != KEY_BYTES or len(holder) != KEY_BYTES or len(value) > value_bytes:
        raise ValueError(f"key {len(key)}, holder {len(holder)}, value {len(value)} bytes")
