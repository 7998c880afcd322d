"""A session ID opens nothing by itself."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.mesh.sessions import MAX_ID_BYTES, Owner, Sessions
from spiffe_mcp.tables import LocalTable
from tests.fakes.mini_ca import NOW

PLANNER = SpiffeId.parse("spiffe://a.test/planner")
ALICE = Owner(PLANNER, PLANNER, "alice", "https://idp.a.test")
BOB = replace(ALICE, sub="bob")
IDLE = timedelta(minutes=30)
SECOND = timedelta(seconds=1)


def reason(sessions: Sessions, session: bytes, owner: Owner = ALICE, after: timedelta = timedelta()) -> Any:
    """Why `owner` may not use `session`, or None."""
    try:
        sessions.check(session, owner, NOW + after)
    except Refused as refused:
        return refused.reason
    return None


def with_session(session: bytes = b"s", capacity: int = 100) -> Sessions:
    sessions = Sessions(LocalTable(capacity))
    sessions.opened(session, ALICE, NOW)
    return sessions


def test_its_owner_may_use_it() -> None:
    assert reason(with_session(), b"s") is None


@pytest.mark.parametrize(
    "other",
    [
        replace(ALICE, peer=SpiffeId.parse("spiffe://a.test/other")),
        replace(ALICE, caller=SpiffeId.parse("spiffe://a.test/other")),
        replace(ALICE, sub="bob"),
        replace(ALICE, sub_iss="https://idp.b.test"),
    ],
)
def test_nobody_else_may(other: Owner) -> None:
    """Same ID, and each part of an owner counts."""
    assert reason(with_session(), b"s", other) is Reason.SESSION_UNKNOWN


def test_one_that_was_never_opened_does_not_exist() -> None:
    assert reason(Sessions(LocalTable(1)), b"s") is Reason.SESSION_UNKNOWN


def test_one_that_was_ended_does_not_exist_and_ending_it_twice_does_no_harm() -> None:
    sessions = with_session()
    sessions.ended(b"s")
    sessions.ended(b"s")
    assert reason(sessions, b"s") is Reason.SESSION_UNKNOWN
    assert len(sessions) == 0


def test_it_lives_while_it_is_used() -> None:
    sessions = with_session()
    assert reason(sessions, b"s", after=IDLE) is None
    assert reason(sessions, b"s", after=2 * IDLE) is None


def test_it_is_forgotten_when_it_was_idle_for_too_long() -> None:
    sessions = with_session()
    assert reason(sessions, b"s", after=IDLE + SECOND) is Reason.SESSION_UNKNOWN
    assert len(sessions) == 0


def test_a_stranger_who_tries_it_does_not_keep_it_alive() -> None:
    sessions = with_session()
    assert reason(sessions, b"s", BOB, after=IDLE) is Reason.SESSION_UNKNOWN
    assert reason(sessions, b"s", after=IDLE + SECOND) is Reason.SESSION_UNKNOWN


def test_using_one_does_not_keep_another_alive() -> None:
    sessions = with_session()
    sessions.opened(b"t", ALICE, NOW)
    assert reason(sessions, b"s", after=IDLE) is None
    assert reason(sessions, b"t", after=IDLE + SECOND) is Reason.SESSION_UNKNOWN
    assert reason(sessions, b"s", after=IDLE + SECOND) is None


def test_a_clock_set_back_forgets_nobody() -> None:
    assert reason(with_session(), b"s", after=-IDLE * 10) is None


def opening(
    sessions: Sessions, session: bytes, owner: Owner = ALICE, after: timedelta = timedelta()
) -> Reason:
    with pytest.raises(Refused) as caught:
        sessions.opened(session, owner, NOW + after)
    return caught.value.reason


def test_a_table_full_of_live_sessions_refuses_rather_than_forgets_one() -> None:
    sessions = with_session(capacity=1)
    assert opening(sessions, b"t") is Reason.SESSIONS_FULL
    assert reason(sessions, b"s") is None
    sessions.opened(b"s", ALICE, NOW)  # an answer that names it again takes no more room


def test_idle_sessions_make_room() -> None:
    sessions = with_session(capacity=1)
    sessions.opened(b"t", BOB, NOW + IDLE + SECOND)
    assert len(sessions) == 1


def test_an_id_that_the_upstream_gives_to_two_is_refused_to_the_second() -> None:
    sessions = with_session()
    assert opening(sessions, b"s", BOB) is Reason.SESSION_UNUSABLE
    assert reason(sessions, b"s") is None


@pytest.mark.parametrize("session", [b"!", b"~", b"9c5b94b1-35ad", b"x" * MAX_ID_BYTES])
def test_an_id_is_visible_ascii(session: bytes) -> None:
    assert reason(with_session(session), session) is None


@pytest.mark.parametrize("session", [b"", b"a b", b"\xff", b"a\n", b"\x7f", b"x" * (MAX_ID_BYTES + 1)])
def test_nothing_else_is_an_id(session: bytes) -> None:
    assert opening(Sessions(LocalTable(1)), session) is Reason.SESSION_UNUSABLE


def test_one_peer_leaves_room_for_others() -> None:
    sessions = Sessions(LocalTable(8))
    other = replace(ALICE, peer=SpiffeId.parse("spiffe://a.test/other"))
    for owner, fits in ((ALICE, 4), (other, 2)):
        for number in range(fits):
            sessions.opened(f"{owner.peer}{number}".encode(), owner, NOW)
        with pytest.raises(Refused) as caught:
            sessions.opened(b"more", owner, NOW)
        assert caught.value.reason is Reason.SESSIONS_FULL
    sessions.ended(f"{other.peer}0".encode())
    sessions.opened(b"more", other, NOW)


def test_what_was_declared_when_it_opened_counts() -> None:
    sessions, declared = Sessions(LocalTable(1)), Capability.SAMPLING | Capability.ROOTS
    sessions.opened(b"s", ALICE, NOW, declared)
    sessions.opened(b"s", ALICE, NOW)  # named again in a later answer
    assert sessions.check(b"s", ALICE, NOW) == declared
    assert with_session().check(b"s", ALICE, NOW) == NOTHING
