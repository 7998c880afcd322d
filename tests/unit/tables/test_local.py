"""What a table of one process does beyond what every table does: it stays small."""

from spiffe_mcp.tables import LocalTable, digest

NOW = 1_790_000_000
KEY, HOLDER = digest("key"), digest("holder")


def kept(table: LocalTable) -> int:
    """How many keys its buckets hold, those that are gone included."""
    return sum(len(bucket.keys) for second in table._buckets.values() for bucket in second.values())


def test_facts_that_come_and_go_within_a_second_leave_nothing_behind() -> None:
    table = LocalTable(10)
    for number in range(1000):
        table.add(digest(str(number)), b"x", HOLDER, NOW + 300, NOW)
        assert table.take(digest(str(number)), NOW) == b"x"
    assert kept(table) < 50
    assert not table._values


def test_a_fact_that_is_touched_each_second_stands_in_few_buckets() -> None:
    table = LocalTable(10)
    table.add(KEY, b"x", HOLDER, NOW + 30, NOW)
    for second in range(1000):
        assert table.touch(KEY, NOW + second + 30, NOW + second)
    assert kept(table) <= 31
    assert len(table._buckets) <= 31


def test_the_same_fact_that_comes_and_goes_counts_once() -> None:
    table = LocalTable(10)
    for _ in range(5):
        table.add(KEY, b"", HOLDER, NOW + 1, NOW)
        table.remove(KEY)
    table.add(KEY, b"", HOLDER, NOW + 1, NOW)
    assert table.get(KEY, NOW + 1) is None
    assert (len(table), table.held_by(HOLDER), table.free) == (0, 0, 10)
    assert kept(table) == 0
