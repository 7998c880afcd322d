"""What a table of one process does beyond what every table does: it stays small, and no call takes long."""

import tracemalloc
from mmap import PAGESIZE
from pathlib import Path

from spiffe_mcp.tables import Added, LocalTable, digest

NOW = 1_790_000_000
KEY, HOLDER = digest("key"), digest("holder")


def test_facts_that_come_and_go_within_a_second_leave_nothing_behind() -> None:
    table = LocalTable(10)
    for number in range(1000):
        table.add(digest(str(number)), b"x", HOLDER, NOW + 300, NOW)
        assert table.take(digest(str(number)), NOW) == b"x"
    assert table._index.used == 1
    assert (len(table._buckets), len(table._coming)) == (1, 1)
    assert not table._values


def test_holders_that_come_and_go_leave_nothing_behind() -> None:
    table = LocalTable(10)
    for number in range(1000):
        table.add(KEY, b"", digest(str(number)), NOW + 300, NOW)
        table.remove(KEY)
    assert len(table._buckets) == 1
    assert table._seconds == {NOW + 300: {}}


def test_a_fact_that_is_touched_each_second_stands_in_one_bucket() -> None:
    table = LocalTable(10)
    table.add(KEY, b"x", HOLDER, NOW + 30, NOW)
    for second in range(1000):
        assert table.touch(KEY, NOW + second + 30, NOW + second)
    assert table.get(KEY, NOW + 999) == b"x"
    assert len(table._buckets) == 1
    assert len(table._coming) <= 31


def test_the_same_fact_that_comes_and_goes_counts_once() -> None:
    table = LocalTable(10)
    for _ in range(5):
        table.add(KEY, b"", HOLDER, NOW + 1, NOW)
        table.remove(KEY)
    table.add(KEY, b"", HOLDER, NOW + 1, NOW)
    assert table.get(KEY, NOW + 1) is None
    assert (len(table), table.held_by(HOLDER), table.free) == (0, 0, 10)
    assert not table._seconds


def test_after_a_quiet_time_no_operation_clears_away_all() -> None:
    table = LocalTable(1000)
    keys = [digest(str(number)) for number in range(400)]
    for key in keys:
        table.add(key, b"x", HOLDER, NOW + 5, NOW)
    assert table.get(keys[0], NOW + 5) is None
    assert len(table._values) >= 400 - 33
    assert table.add(keys[0], b"", HOLDER, NOW + 9, NOW + 5) is Added.ADDED
    assert (len(table), len(table._values)) == (1, 0)


def test_what_has_expired_makes_room_though_it_was_not_cleared_away() -> None:
    table = LocalTable(200)
    for number in range(100):
        table.add(digest(str(number)), b"", HOLDER, NOW + 5, NOW)
    assert table.add(KEY, b"", HOLDER, NOW + 9, NOW) is Added.FULL
    assert table.add(KEY, b"", HOLDER, NOW + 9, NOW + 5) is Added.ADDED


def test_facts_without_values_are_no_objects_and_slots_are_taken_again() -> None:
    table = LocalTable(40_000)
    tracemalloc.start()
    try:
        for number in range(40_000):
            table.add(digest(str(number)), b"", HOLDER, NOW + 10 + number // 1000, NOW + number // 1000)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert table._index.used <= 11_000
    assert taken < 100_000
    assert len(table._memory.octets) < 34 * 40_000


def test_a_table_takes_no_memory_before_it_is_used() -> None:
    before = _resident()
    tables = [LocalTable(400_000) for _ in range(20)]  # 13 MB of address space each
    assert _resident() - before < 4 << 20
    assert [len(table) for table in tables] == [0] * 20


def _resident() -> int:
    """Bytes (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE
