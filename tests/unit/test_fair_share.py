"""Room for many is never all taken by one."""

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.fair_share import FairShare, Holder


def fill(room: FairShare, holder: str) -> int:
    """How many `holder` can take."""
    taken = 0
    while room.take(holder):
        taken += 1
    return taken


def test_one_alone_fills_half() -> None:
    assert fill(FairShare(8), "a") == 4


def test_what_is_left_is_halved_by_each() -> None:
    room = FairShare(16)
    assert [fill(room, holder) for holder in "abcd"] == [8, 4, 2, 1]


def test_only_many_in_league_leave_nothing() -> None:
    room = FairShare(1024)
    for holder in "abcdefghij":
        fill(room, holder)
    assert [fill(room, "k"), fill(room, "l")] == [1, 0]


def test_what_is_given_back_can_be_taken_again() -> None:
    room = FairShare(8)
    fill(room, "a")
    room.give_back("a")
    assert room.take("a")
    assert not room.take("a")


def test_there_may_be_room_for_nobody() -> None:
    assert not FairShare(0).take("a")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(0, 12))
def test_no_order_of_taking_and_giving_back_breaks_the_limits(
    moves: list[tuple[str, bool]], limit: int
) -> None:
    room, held = FairShare(limit), dict.fromkeys("abc", 0)
    for holder, takes in moves:
        free = limit - sum(held.values())
        if takes:
            assert room.take(holder) == (held[holder] < free)
            held[holder] += held[holder] < free
        elif held[holder]:
            room.give_back(holder)
            held[holder] -= 1
        assert room.taken == sum(held.values()) <= limit


def test_a_holder_takes_and_gives_back_for_itself() -> None:
    room = FairShare(4)
    a, b = Holder(room, "a"), Holder(room, "b")
    assert [a.take(), a.take(), a.take(), b.take()] == [True, True, False, True]
    a.give_back()
    assert a.take()
