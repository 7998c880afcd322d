"""What holds of every table, whoever shares it."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiffe_mcp.tables import KEY_BYTES, MAX_VALUE_BYTES, Added, LocalTable, SharedTable, Table, digest

Make = Callable[[int], Table]
NOW = 1_790_000_000
A, B, C = (digest(name) for name in "abc")
ANN, BEN, CEM = (digest(name) for name in ("ann", "ben", "cem"))


def shared(capacity: int) -> SharedTable:
    """As another process sees it that was handed its descriptor."""
    return SharedTable.of(SharedTable.create(capacity, salt=7).fileno())


@pytest.fixture(params=[LocalTable, shared])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a table with so much room."""
    made: Make = request.param
    return made


def test_a_fact_is_remembered_under_its_key(make: Make) -> None:
    table = make(10)
    assert table.add(A, b"one", ANN, NOW + 5, NOW) is Added.ADDED
    assert table.add(B, b"", ANN, NOW + 5, NOW) is Added.ADDED
    assert [table.get(key, NOW) for key in (A, B, C)] == [b"one", b"", None]
    assert (len(table), table.free, table.held_by(ANN), table.held_by(BEN)) == (2, 8, 2, 0)


def test_what_is_present_stays_as_it_is(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    assert table.add(A, b"two", BEN, NOW + 50, NOW) is Added.PRESENT
    assert table.get(A, NOW) == b"one"
    assert (table.held_by(ANN), table.held_by(BEN)) == (1, 0)
    assert table.get(A, NOW + 5) is None


def test_a_fact_is_there_until_its_second(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    assert table.get(A, NOW + 4) == b"one"
    assert table.get(A, NOW + 5) is None
    assert (len(table), table.free, table.held_by(ANN)) == (0, 10, 0)


def test_long_after_everything_has_expired_there_is_room_again(make: Make) -> None:
    table = make(8)
    for number, key in enumerate((A, B, C)):
        table.add(key, b"", ANN, NOW + number + 1, NOW)
    assert table.add(A, b"", ANN, NOW + 10_000_001, NOW + 10_000_000) is Added.ADDED
    assert len(table) == 1


def test_the_clock_never_goes_back(make: Make) -> None:
    table = make(10)
    table.add(A, b"", ANN, NOW + 60, NOW)
    table.add(B, b"", ANN, NOW + 600, NOW + 300)
    assert table.get(A, NOW) is None
    assert table.add(A, b"", ANN, NOW + 60, NOW) is Added.EXPIRED
    assert not table.put(A, b"", ANN, NOW + 60, NOW)
    assert table.get(B, NOW) == b""


def test_what_is_over_when_it_comes_is_not_remembered(make: Make) -> None:
    table = make(10)
    assert table.add(A, b"", ANN, NOW, NOW) is Added.EXPIRED
    assert not table.put(A, b"", ANN, NOW, NOW)
    assert len(table) == 0


def test_it_is_full_for_a_holder_before_it_is_full_for_another(make: Make) -> None:
    table = make(4)
    assert [table.add(key, b"", ANN, NOW + 5, NOW) for key in (A, B, C)] == [
        Added.ADDED,
        Added.ADDED,
        Added.FULL,
    ]
    assert table.add(C, b"", BEN, NOW + 5, NOW) is Added.ADDED
    assert not table.put(digest("d"), b"", BEN, NOW + 5, NOW)
    assert table.put(digest("d"), b"", CEM, NOW + 5, NOW)
    assert table.free == 0


def test_one_alone_fills_half_and_what_expires_or_is_removed_makes_room(make: Make) -> None:
    table = make(64)
    keys = [digest(str(number)) for number in range(64)]
    for number, key in enumerate(keys):
        table.add(key, b"", ANN, NOW + 1 + number % 2, NOW)
    assert table.held_by(ANN) == 32
    table.remove(keys[1])
    assert (table.held_by(ANN), table.free) == (31, 33)
    assert table.get(keys[0], NOW + 1) is None
    assert (len(table), table.held_by(ANN)) == (15, 15)


def test_no_room_is_no_room_for_anybody(make: Make) -> None:
    table = make(0)
    assert table.add(A, b"", ANN, NOW + 5, NOW) is Added.FULL
    assert not table.put(A, b"", ANN, NOW + 5, NOW)


def test_put_replaces_value_end_and_holder(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    assert table.put(A, b"two", ANN, NOW + 9, NOW)
    assert table.get(A, NOW + 8) == b"two"
    assert table.put(A, b"", BEN, NOW + 9, NOW + 8)
    assert (table.held_by(ANN), table.held_by(BEN), len(table)) == (0, 1, 1)
    assert table.get(A, NOW + 9) is None


def test_a_put_for_which_there_is_no_room_leaves_what_was(make: Make) -> None:
    table = make(4)
    for key, holder in ((A, ANN), (B, ANN), (C, BEN)):
        table.add(key, b"old", holder, NOW + 5, NOW)
    assert not table.put(A, b"new", BEN, NOW + 5, NOW)
    assert table.get(A, NOW) == b"old"
    assert (table.held_by(ANN), table.held_by(BEN)) == (2, 1)
    assert table.put(A, b"new", ANN, NOW + 5, NOW)  # in its own place it needs none


def test_a_put_in_its_own_place_needs_no_room_where_there_is_none(make: Make) -> None:
    table = make(4)
    for key, holder in ((A, ANN), (B, ANN), (C, BEN), (digest("d"), CEM)):
        assert table.add(key, b"old", holder, NOW + 5, NOW) is Added.ADDED
    assert table.free == 0
    assert table.put(A, b"new", ANN, NOW + 9, NOW)
    assert table.get(A, NOW + 8) == b"new"
    assert table.held_by(ANN) == 1


def test_touch_lets_a_fact_last_longer_and_never_shorter(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    assert table.touch(A, NOW + 9, NOW + 4)
    assert table.touch(A, NOW + 2, NOW + 4)
    assert table.get(A, NOW + 8) == b"one"
    assert not table.touch(A, NOW + 99, NOW + 9)
    assert not table.touch(B, NOW + 99, NOW)


def test_what_was_taken_is_gone(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    assert table.take(A, NOW) == b"one"
    assert table.take(A, NOW) is None
    assert (len(table), table.held_by(ANN)) == (0, 0)
    assert table.add(A, b"two", BEN, NOW + 5, NOW) is Added.ADDED
    assert table.take(A, NOW + 5) is None


def test_removing_twice_does_no_harm(make: Make) -> None:
    table = make(10)
    table.add(A, b"one", ANN, NOW + 5, NOW)
    table.remove(A)
    table.remove(A)
    assert (len(table), table.free) == (0, 10)


@pytest.mark.parametrize(
    ("key", "value", "holder"),
    [(A[1:], b"", ANN), (A, b"x" * (MAX_VALUE_BYTES + 1), ANN), (A, b"", ANN + b"x")],
)
def test_what_has_the_wrong_size_is_an_error_of_the_program(
    make: Make, key: bytes, value: bytes, holder: bytes
) -> None:
    table = make(10)
    with pytest.raises(ValueError, match="bytes"):
        table.add(key, value, holder, NOW + 5, NOW)
    with pytest.raises(ValueError, match="bytes"):
        table.put(key, value, holder, NOW + 5, NOW)
    assert len(table) == 0


def test_a_value_may_be_as_long_as_allowed(make: Make) -> None:
    table = make(10)
    longest = bytes(range(MAX_VALUE_BYTES))
    table.add(A, longest, ANN, NOW + 5, NOW)
    assert table.get(A, NOW) == longest


class Fact(NamedTuple):
    """As the model keeps it."""

    value: bytes
    holder: bytes
    expires: int


class Model:
    """The same in the plainest words: one dictionary that is searched."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.now, self.facts = capacity, 0, dict[bytes, Fact]()

    def tell(self, now: int) -> None:
        self.now = max(self.now, now)
        self.facts = {key: fact for key, fact in self.facts.items() if fact.expires > self.now}

    def held(self) -> Counter[bytes]:
        return Counter(fact.holder for fact in self.facts.values())

    def has_room(self, holder: bytes) -> bool:
        return self.held()[holder] < self.capacity - len(self.facts)

    def add(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> Added:
        self.tell(now)
        if expires <= self.now:
            return Added.EXPIRED
        if key in self.facts:
            return Added.PRESENT
        if not self.has_room(holder):
            return Added.FULL
        self.facts[key] = Fact(value, holder, expires)
        return Added.ADDED

    def get(self, key: bytes, now: int) -> bytes | None:
        self.tell(now)
        return self.facts[key].value if key in self.facts else None

    def put(self, key: bytes, value: bytes, holder: bytes, expires: int, now: int) -> bool:
        self.tell(now)
        is_own = key in self.facts and self.facts[key].holder == holder
        if expires <= self.now or not (is_own or self.has_room(holder)):
            return False
        self.facts[key] = Fact(value, holder, expires)
        return True

    def touch(self, key: bytes, expires: int, now: int) -> bool:
        self.tell(now)
        fact = self.facts.get(key)
        if fact is not None:
            self.facts[key] = fact._replace(expires=max(expires, fact.expires))
        return fact is not None

    def take(self, key: bytes, now: int) -> bytes | None:
        value = self.get(key, now)
        self.remove(key)
        return value

    def remove(self, key: bytes) -> None:
        self.facts.pop(key, None)


keys = st.sampled_from([digest(str(number)) for number in range(12)])
holders = st.sampled_from([ANN, BEN, CEM])
values = st.binary(max_size=MAX_VALUE_BYTES)
seconds = st.integers(1, 40)
operations = st.one_of(
    st.tuples(st.just("add"), keys, values, holders, seconds, seconds),
    st.tuples(st.just("put"), keys, values, holders, seconds, seconds),
    st.tuples(st.just("touch"), keys, seconds, seconds),
    st.tuples(st.just("get"), keys, seconds),
    st.tuples(st.just("take"), keys, seconds),
    st.tuples(st.just("remove"), keys),
)


@pytest.mark.parametrize("make_table", [LocalTable, shared])
@given(st.integers(0, 9), st.lists(operations, max_size=60))
@settings(deadline=None)
def test_every_order_of_operations_does_what_the_model_does(
    make_table: Make, capacity: int, todo: list[tuple[str, object]]
) -> None:
    table, model = make_table(capacity), Model(capacity)
    for name, *arguments in todo:
        assert getattr(table, name)(*arguments) == getattr(model, name)(*arguments)
        assert len(table) == len(model.facts)
        assert table.free == capacity - len(model.facts)
        assert Counter({h: table.held_by(h) for h in (ANN, BEN, CEM)}) == model.held()


def test_a_digest_has_the_size_of_a_key_and_parts_do_not_run_into_each_other() -> None:
    assert len(digest("a", b"b")) == KEY_BYTES
    assert len({digest("ab"), digest("a", "b"), digest("", "ab"), digest("ab", ""), digest()}) == 5
    assert digest("é") == digest("é".encode())
