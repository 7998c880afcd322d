"""A program that ends is started again at once, then later and later; anew once it works."""

from spiffe_mcp.mesh.stdio.backoff import LONGEST, SETTLED, BackOff


def pauses(lives: list[float]) -> list[float]:
    """How long is waited after each of so many seconds of life."""
    backoff, now, waited = BackOff(), 0.0, []
    for life in lives:
        started, now = now, now + life
        backoff.ended(started, now)
        waited.append(backoff.remaining(now))
        now += waited[-1]
        assert backoff.remaining(now) == 0.0
    return waited


def test_nothing_is_waited_for_the_first_time() -> None:
    assert BackOff().remaining(0.0) == 0.0


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    assert pauses([0.0] * 9) == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST, LONGEST]


def test_it_stays_the_longest_however_often() -> None:
    assert pauses([0.0] * 200)[-1] == LONGEST


def test_who_lived_long_enough_begins_anew() -> None:
    assert pauses([0.0, 0.0, 0.0, SETTLED, 0.0]) == [0.0, 0.5, 1.0, 0.0, 0.5]


def test_a_pause_that_has_begun_becomes_shorter() -> None:
    backoff = BackOff()
    for _ in range(3):
        backoff.ended(0.0, 0.0)
    assert [backoff.remaining(now) for now in (0.0, 0.75, 5.0)] == [1.0, 0.25, 0.0]
