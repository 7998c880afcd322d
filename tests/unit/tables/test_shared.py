"""Whoever dies in the middle of an operation, it is done or not done, and all else is right."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from random import Random
from typing import Any

import pytest

from spiffe_mcp.tables import KEY_BYTES, Added, SharedTable, digest
from spiffe_mcp.tables.segment import DIRTY, Geometry, Segment

NOW = 1_790_000_000
KEYS = [digest(str(number)) for number in range(8)]
HOLDERS = [digest("ann"), digest("ben")]
VALUE = b"v" * 8


class Died(BaseException):
    """The process is no more."""


class Fuse:
    """Lets so many stores happen."""

    def __init__(self, stores: int) -> None:
        self.left = stores

    def burn(self) -> None:
        if self.left == 0:
            raise Died
        self.left -= 1


class Fragile:
    """An area of memory whose writer dies when the fuse is burnt. Bytes are torn in half then."""

    def __init__(self, area: Any, fuse: Fuse) -> None:
        self._area = area
        self._fuse = fuse

    def __len__(self) -> int:
        return len(self._area)

    def __getitem__(self, at: Any) -> Any:
        return self._area[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        try:
            self._fuse.burn()
        except Died:
            if isinstance(at, slice):
                start, half = at.start or 0, len(value) // 2
                self._area[start : start + half] = value[:half]
            raise
        self._area[at] = value

    def cast(self, form: str) -> "Fragile":
        return Fragile(self._area.cast(form), self._fuse)


AREAS = ("octets", "header", "expires", "fact_links", "holder_links", "held", "due_links", "due_before")


def mortal(file: int, fuse: Fuse) -> SharedTable:
    """The table, for a process that dies after so many stores."""
    segment = Segment.of(file)
    for area in AREAS:
        setattr(segment, area, Fragile(getattr(segment, area), fuse))
    return SharedTable(segment)


def facts(table: SharedTable) -> dict[bytes, tuple[bytes, bytes, int]]:
    """All that is true, read from the one place where it stands; and all else has to agree with it."""
    len(table)  # a look at it, as whoever comes next does
    segment = table._segment
    found = {}
    for slot in range(1, segment.geometry.slots):
        if segment.expires[slot]:
            at = segment.keys + slot * KEY_BYTES
            key = segment.octets[at : at + KEY_BYTES]
            assert key not in found
            assert table._find(key) == slot
            found[key] = (table._value(slot), table._holder(slot), segment.expires[slot])
    held = Counter(holder for _, holder, _ in found.values())
    assert len(table) == len(found)
    assert {holder: table.held_by(holder) for holder in HOLDERS} == {h: held[h] for h in HOLDERS}
    return found


Operation = Callable[[SharedTable], object]
OPERATIONS: dict[str, Operation] = {
    "add": lambda table: table.add(KEYS[5], VALUE, HOLDERS[1], NOW + 50, NOW + 1),
    "add while others expire": lambda table: table.add(KEYS[5], VALUE, HOLDERS[1], NOW + 50, NOW + 11),
    "add for a new holder": lambda table: table.add(KEYS[5], VALUE, digest("new"), NOW + 50, NOW + 1),
    "put": lambda table: table.put(KEYS[5], VALUE, HOLDERS[0], NOW + 50, NOW + 1),
    "replace": lambda table: table.put(KEYS[2], VALUE, HOLDERS[0], NOW + 50, NOW + 1),
    "replace another's": lambda table: table.put(KEYS[3], VALUE, HOLDERS[0], NOW + 50, NOW + 1),
    "touch": lambda table: table.touch(KEYS[2], NOW + 50, NOW + 1),
    "take": lambda table: table.take(KEYS[2], NOW + 1),
    "take the last of a holder": lambda table: table.take(KEYS[3], NOW + 1),
    "remove": lambda table: table.remove(KEYS[2]),
    "expire": lambda table: table.get(KEYS[0], NOW + 30),
}


def furnished() -> SharedTable:
    """A table of some history: slots that were given back, and facts of two holders."""
    table = SharedTable.create(12, salt=5)
    for number, key in enumerate(KEYS[:4]):
        holder = HOLDERS[number == 3]
        assert table.add(key, b"old" * number, holder, NOW + 10 + number * 9, NOW) is Added.ADDED
    table.remove(KEYS[1])
    return table


def is_between(
    found: dict[bytes, tuple[bytes, bytes, int]],
    before: dict[bytes, tuple[bytes, bytes, int]],
    after: dict[bytes, tuple[bytes, bytes, int]],
) -> bool:
    """Whether each fact is as it was, as it is to be, or, if it was being changed, forgotten."""
    return all(
        found.get(key) in {before.get(key), after.get(key)}
        or (key not in found and before[key] != after.get(key))
        for key in before.keys() | after.keys() | found.keys()
    )


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_death_at_any_store_leaves_a_whole_table(operation: Operation) -> None:
    with closing(furnished()) as model:
        before = facts(model)
        operation(model)
        after = facts(model)
    deaths = 0
    while True:
        with closing(furnished()) as table:
            try:
                operation(mortal(table.fileno(), Fuse(deaths)))
            except Died:
                found = facts(table)
            else:
                assert facts(table) == after
                break
            assert is_between(found, before, after), deaths
            assert not table._header[DIRTY]
            operation(table)  # and whoever comes next goes on
            facts(table)
        deaths += 1
    assert deaths > 3


def test_whoever_dies_while_making_it_anew_is_recovered_from_too() -> None:
    with closing(furnished()) as model:
        before = facts(model)
    for stores in range(200):
        with closing(furnished()) as table:
            table._header[DIRTY] = 1
            try:
                len(mortal(table.fileno(), Fuse(stores)))
            except Died:
                assert facts(table) == before
            else:
                assert stores > 20
                return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("seed", range(20))
def test_deaths_on_end_lose_no_fact_that_nobody_touched(seed: int) -> None:
    random = Random(seed)  # noqa: S311  a test that can be repeated
    with closing(SharedTable.create(24, salt=seed)) as table:
        known: dict[bytes, tuple[bytes, bytes, int]] = {}
        for step in range(60):
            dying = mortal(table.fileno(), Fuse(random.randrange(1, 40)))
            with suppress(Died):
                for _ in range(20):
                    key, holder = digest(str(random.randrange(20))), random.choice(HOLDERS)
                    if random.random() < 0.3:
                        dying.remove(key)
                    else:
                        dying.add(key, VALUE, holder, NOW + step + random.randrange(1, 9000), NOW + step)
            known = facts(table)
            assert len(known) <= 24
        assert known


def test_what_is_no_table_is_not_taken_for_one() -> None:
    with closing(SharedTable.create(4, salt=1)) as table:
        table._header[0] += 1
        with pytest.raises(ValueError, match="no table"):
            SharedTable.of(table.fileno())
    file = os.memfd_create("other")
    os.ftruncate(file, 4096)
    with pytest.raises(ValueError, match="no table"):
        SharedTable.of(file)
    os.close(file)


@pytest.mark.parametrize(("capacity", "value_bytes"), [(-1, 0), (1 << 25, 0), (1, 65), (1, -1)])
def test_a_table_has_a_size_that_can_be(capacity: int, value_bytes: int) -> None:
    with pytest.raises(ValueError, match="a table of"):
        Geometry(capacity, value_bytes)


def test_nobody_can_cut_it() -> None:
    with closing(SharedTable.create(4, salt=1)) as table, pytest.raises(PermissionError):
        os.ftruncate(table.fileno(), 0)


HAMMER = """
import sys
from spiffe_mcp.tables import SharedTable, digest
table, who, now = SharedTable.of(int(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("on", flush=True)
number = 0
while True:
    number += 1
    key = digest(who, str(number % 50))
    table.put(key, who.encode(), digest(who), now + 10_000, now + number // 1000)
    if number % 3 == 0:
        table.take(key, now + number // 1000)
"""


@contextmanager
def hammering(table: SharedTable, who: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that uses the table as fast as it can, and is killed in the middle of it."""
    arguments = [sys.executable, "-c", HAMMER, str(table.fileno()), who, str(NOW)]
    with subprocess.Popen(arguments, pass_fds=[table.fileno()], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def test_processes_that_are_killed_leave_a_whole_table_to_the_others() -> None:
    random = Random(1)  # noqa: S311  as above
    with closing(SharedTable.create(1000, salt=3)) as table:
        table.add(KEYS[0], b"stays", HOLDERS[0], NOW + 10_000, NOW)
        for turn in range(12):
            with hammering(table, f"a{turn}"), hammering(table, f"b{turn}"):
                for _ in range(random.randrange(200, 2000)):
                    assert table.get(KEYS[0], NOW) == b"stays"
        found = facts(table)
        assert found[KEYS[0]][0] == b"stays"
        assert len(found) > 24
