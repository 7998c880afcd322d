"""What has ended is found when its second has come, however far off that was."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from spiffe_mcp.tables.calendar import Calendar
from spiffe_mcp.tables.segment import NOW, SECONDS, SWEPT, Geometry, Segment

START = 1_790_000_000


@pytest.fixture
def segment() -> Iterator[Segment]:
    """For a hundred slots, at the start."""
    with closing(Segment.create(Geometry(100, 0), salt=1)) as made:
        made.header[NOW] = made.header[SWEPT] = START
        yield made


def entered(segment: Segment, *ends: int) -> Calendar:
    """A calendar with slots that end so many seconds after the start."""
    calendar = Calendar(segment)
    for slot, end in enumerate(ends, 1):
        segment.expires[slot] = START + end
        calendar.enter(slot)
    return calendar


def due(segment: Segment, calendar: Calendar, at: int, most: int = -1) -> set[int]:
    """What is due so many seconds after the start; it leaves."""
    segment.header[NOW] = START + at
    found = set()
    for slot in calendar.due(most):
        calendar.leave(slot)
        found.add(slot)
    return found


def test_each_is_due_in_its_second_and_once(segment: Segment) -> None:
    calendar = entered(segment, 1, 3, 3, 7)
    assert [due(segment, calendar, at) for at in (0, 1, 2, 3, 6, 7, 8)] == [
        set(), {1}, set(), {2, 3}, set(), {4}, set(),
    ]  # fmt: skip


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_what_left_is_not_due(segment: Segment, gone: int) -> None:
    calendar = entered(segment, 5, 5, 5)
    calendar.leave(gone)
    assert due(segment, calendar, 5) == {1, 2, 3} - {gone}


def test_no_more_are_due_than_were_asked_for_and_the_rest_later(segment: Segment) -> None:
    calendar = entered(segment, *[2] * 10)
    parts = [due(segment, calendar, 5, most=4) for _ in range(4)]
    assert [len(part) for part in parts] == [4, 4, 2, 0]
    assert set().union(*parts) == set(range(1, 11))


@pytest.mark.parametrize("end", [SECONDS - 1, SECONDS, SECONDS + 1, 3 * SECONDS, 10 * SECONDS + 5])
@pytest.mark.parametrize("step", [1, 700, SECONDS, 5 * SECONDS])
def test_an_end_far_off_comes_neither_early_nor_late(segment: Segment, end: int, step: int) -> None:
    calendar = entered(segment, end)
    at = 0
    while at + step < end:
        at += step
        assert due(segment, calendar, at) == set()
    assert due(segment, calendar, at + step) == {1}


def test_what_is_entered_while_others_wait_to_be_swept_is_due_in_its_time(segment: Segment) -> None:
    calendar = entered(segment, *[1] * 50)
    first = due(segment, calendar, 3000, most=1)
    segment.expires[60] = START + 3000 + SECONDS + 1
    calendar.enter(60)
    assert due(segment, calendar, 3000 + SECONDS) == set(range(1, 51)) - first
    assert due(segment, calendar, 3001 + SECONDS) == {60}


def test_a_clock_that_leaps_misses_nothing(segment: Segment) -> None:
    calendar = entered(segment, 1, SECONDS, 2 * SECONDS, 9 * SECONDS)
    assert due(segment, calendar, 8 * SECONDS) == {1, 2, 3}
    assert due(segment, calendar, 9 * SECONDS) == {4}
