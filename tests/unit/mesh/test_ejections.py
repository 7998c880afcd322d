"""What failed is left alone for a while that grows; no place is ever out of reach."""

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.mesh.ejections import FIRST, LONGEST, Ejections

PLACES = ("a", "b", "c")


def test_places_that_never_failed_stand_as_they_are_written() -> None:
    assert Ejections[str]().order(PLACES, 0.0) == PLACES


def test_what_failed_comes_last_until_its_time_is_over() -> None:
    ejections = Ejections[str]()
    ejections.failed("a", now=10.0, jitter=1.0)
    assert ejections.order(PLACES, 10.0 + FIRST - 0.01) == ("b", "c", "a")
    assert ejections.order(PLACES, 10.0 + FIRST) == PLACES


def test_jitter_takes_off_up_to_half() -> None:
    ejections = Ejections[str]()
    ejections.failed("a", now=0.0, jitter=0.0)
    assert ejections.order(PLACES, FIRST / 2 - 0.01)[0] == "b"
    assert ejections.order(PLACES, FIRST / 2) == PLACES


def test_each_failure_after_its_time_doubles_it_up_to_a_bound() -> None:
    ejections, now, waits = Ejections[str](), 0.0, []
    for _ in range(9):
        ejections.failed("a", now, jitter=1.0)
        until = ejections._ejected["a"].until
        waits.append(until - now)
        now = until
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST, LONGEST, LONGEST]


def test_calls_that_fail_together_fail_once() -> None:
    ejections = Ejections[str]()
    for _ in range(100):
        ejections.failed("a", now=0.0, jitter=1.0)
    assert ejections.order(PLACES, FIRST) == PLACES


def test_success_forgets_what_was() -> None:
    ejections = Ejections[str]()
    ejections.failed("a", now=0.0, jitter=1.0)
    ejections.succeeded("a")
    assert ejections.order(PLACES, 0.0) == PLACES


def test_where_all_have_failed_the_one_that_is_due_first_is_tried_first() -> None:
    ejections = Ejections[str]()
    for now, place in enumerate(("c", "a", "b")):
        ejections.failed(place, now / 10, jitter=1.0)
    assert ejections.order(PLACES, 0.5) == ("c", "a", "b")


def test_places_that_nobody_tries_any_more_are_forgotten() -> None:
    ejections = Ejections[int]()
    for place in range(1000):
        ejections.failed(place, now=float(place), jitter=1.0)
    assert len(ejections._ejected) <= LONGEST + FIRST + 1


_EVENTS = st.lists(
    st.tuples(st.sampled_from(PLACES), st.booleans(), st.floats(0, 100), st.floats(0, 1)), max_size=50
)


@given(_EVENTS)
def test_all_are_tried_and_none_that_is_ejected_before_one_that_is_not(
    events: list[tuple[str, bool, float, float]],
) -> None:
    ejections, now = Ejections[str](), 0.0
    for place, fails, later, jitter in events:
        now += later
        if fails:
            ejections.failed(place, now, jitter)
        else:
            ejections.succeeded(place)
        order = ejections.order(PLACES, now)
        assert sorted(order) == sorted(PLACES)
        ejected = [(known := ejections._ejected.get(p)) is not None and known.until > now for p in order]
        assert ejected == sorted(ejected)
    assert ejections.order(PLACES, now + LONGEST) == PLACES  # nobody is left out for ever
