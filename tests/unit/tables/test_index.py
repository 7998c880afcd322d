"""Where a key stands, also among keys of the same chain."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from spiffe_mcp.tables import digest
from spiffe_mcp.tables.index import Index
from spiffe_mcp.tables.segment import FACTS_FREE, FACTS_USED, Geometry, Segment

KEYS = [digest(str(number)) for number in range(6)]


@pytest.fixture
def index() -> Iterator[Index]:
    """One for six keys."""
    with closing(Segment.create(Geometry(6, 0), salt=9)) as segment:
        yield Index(segment, segment.keys, segment.fact_links, FACTS_USED, FACTS_FREE)


@pytest.fixture
def crowded(index: Index) -> Index:
    """The same, with one chain for all keys."""
    index._chains = 1
    return index


@pytest.mark.parametrize("which", ["index", "crowded"])
def test_a_key_is_found_where_it_stands(which: str, request: pytest.FixtureRequest) -> None:
    index: Index = request.getfixturevalue(which)
    slots = {key: index.enter(key) for key in KEYS}
    assert sorted(slots.values()) == [1, 2, 3, 4, 5, 6]
    assert [index.find(key) for key in KEYS] == list(slots.values())
    assert index.find(digest("another")) == 0


@pytest.mark.parametrize("gone", range(6))
def test_any_of_a_chain_may_leave_and_its_slot_is_taken_again(crowded: Index, gone: int) -> None:
    slots = {key: crowded.enter(key) for key in KEYS}
    crowded.leave(slots.pop(KEYS[gone]))
    assert crowded.find(KEYS[gone]) == 0
    assert [crowded.find(key) for key in slots] == list(slots.values())
    assert crowded.enter(digest("new")) == gone + 1
    assert crowded.used == 6


def test_what_is_restored_is_found_and_what_is_not_is_free(index: Index) -> None:
    slots = [index.enter(key) for key in KEYS]
    index.clear(used=6)
    for slot in slots:
        assert index.restore(slot, is_taken=slot != 3) == (slot != 3)
    assert [index.find(key) for key in KEYS] == [1, 2, 0, 4, 5, 6]
    assert index.enter(digest("new")) == 3


def test_a_key_that_stands_twice_is_restored_once(index: Index) -> None:
    first, second = index.enter(KEYS[0]), index.enter(KEYS[0])
    index.clear(used=2)
    assert [index.restore(slot, is_taken=True) for slot in (first, second)] == [True, False]
    assert index.find(KEYS[0]) == first
