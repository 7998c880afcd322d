"""A link is good once, and to forget is to fail closed."""

from contextlib import suppress
from datetime import timedelta

import pytest

from spiffe_mcp.context.replay import ReplayGuard
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.tables import LocalTable
from tests.fakes.links import NOW, accept, link

PLANNER = SpiffeId.parse("spiffe://a.test/ns/agents/planner")
OTHER = SpiffeId.parse("spiffe://a.test/ns/agents/other")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def refusal_of(
    guard: ReplayGuard, jti: str, *, expires: timedelta = MINUTE, now: timedelta = timedelta(0)
) -> Reason:
    with pytest.raises(Refused) as refusal:
        guard.check(PLANNER, jti, NOW + expires, NOW + now)
    return refusal.value.reason


def test_the_second_sight_is_refused() -> None:
    guard = ReplayGuard(LocalTable(10))
    guard.check(PLANNER, "1", NOW + MINUTE, NOW)
    assert refusal_of(guard, "1") is Reason.CONTEXT_REPLAYED


def test_the_second_sight_is_refused_under_another_expiry() -> None:
    guard = ReplayGuard(LocalTable(10))
    guard.check(PLANNER, "1", NOW + MINUTE, NOW)
    assert refusal_of(guard, "1", expires=2 * MINUTE) is Reason.CONTEXT_REPLAYED


def test_another_link_and_another_issuer_are_not_replays() -> None:
    guard = ReplayGuard(LocalTable(10))
    for issuer, jti in [(PLANNER, "1"), (PLANNER, "2"), (OTHER, "1")]:
        guard.check(issuer, jti, NOW + MINUTE, NOW)
    assert len(guard) == 3


def test_a_verified_context_is_remembered_for_as_long_as_it_verifies() -> None:
    guard = ReplayGuard(LocalTable(10))
    header = link()
    context = accept(header)
    guard.check(context.issuer, context.jti, context.expires, NOW)
    last = context.expires - timedelta(microseconds=1)
    again = accept(header, now=last)
    with pytest.raises(Refused) as replayed:
        guard.check(again.issuer, again.jti, again.expires, last)
    assert replayed.value.reason is Reason.CONTEXT_REPLAYED
    with pytest.raises(Refused) as expired:
        accept(header, now=context.expires)
    assert expired.value.reason is Reason.CONTEXT_EXPIRED


def test_a_link_is_accepted_until_the_end_of_its_last_second() -> None:
    guard = ReplayGuard(LocalTable(10))
    guard.check(PLANNER, "1", NOW + 1.5 * SECOND, NOW + 1.2 * SECOND)
    assert refusal_of(guard, "1", expires=1.5 * SECOND, now=1.4 * SECOND) is Reason.CONTEXT_REPLAYED


def test_what_has_expired_is_forgotten() -> None:
    guard = ReplayGuard(LocalTable(20))
    for place in range(10):
        guard.check(PLANNER, str(place), NOW + place * SECOND + SECOND, NOW)
    guard.check(PLANNER, "new", NOW + MINUTE, NOW + 5 * SECOND)
    assert len(guard) == 6


def test_a_full_guard_refuses_what_is_new_until_something_expires() -> None:
    guard = ReplayGuard(LocalTable(4))
    guard.check(PLANNER, "1", NOW + SECOND, NOW)
    guard.check(PLANNER, "2", NOW + MINUTE, NOW)
    assert refusal_of(guard, "3") is Reason.CONTEXT_REPLAY_FULL
    assert refusal_of(guard, "2") is Reason.CONTEXT_REPLAYED
    guard.check(PLANNER, "3", NOW + MINUTE, NOW + SECOND)
    assert len(guard) == 2


def test_what_was_refused_takes_no_room() -> None:
    guard = ReplayGuard(LocalTable(1))
    guard.check(PLANNER, "1", NOW + SECOND, NOW)
    for jti in ("1", "2", "3"):
        refusal_of(guard, jti)
    assert len(guard) == 1


def test_a_clock_set_back_accepts_nothing_a_second_time() -> None:
    guard = ReplayGuard(LocalTable(10))
    guard.check(PLANNER, "1", NOW + MINUTE, NOW)
    guard.check(PLANNER, "2", NOW + 10 * MINUTE, NOW + 5 * MINUTE)
    assert len(guard) == 1
    assert refusal_of(guard, "1") is Reason.CONTEXT_REPLAYED


def test_a_capacity_of_nothing_accepts_nothing() -> None:
    assert refusal_of(ReplayGuard(LocalTable(0)), "1") is Reason.CONTEXT_REPLAY_FULL


def accepted(guard: ReplayGuard, issuer: SpiffeId, many: int) -> int:
    """How many of so many links of `issuer` find room."""
    before = len(guard)
    for jti in range(many):
        with suppress(Refused):
            guard.check(issuer, str(jti), NOW + MINUTE, NOW)
    return len(guard) - before


def test_one_issuer_leaves_room_for_others() -> None:
    guard = ReplayGuard(LocalTable(100))
    assert [accepted(guard, PLANNER, 1000), accepted(guard, OTHER, 1000)] == [50, 25]


def test_what_an_issuer_holds_is_counted_down_as_it_expires() -> None:
    guard = ReplayGuard(LocalTable(100))
    accepted(guard, PLANNER, 1000)
    guard.check(PLANNER, "later", NOW + 2 * MINUTE, NOW + MINUTE)
    assert len(guard) == 1
    assert accepted(guard, PLANNER, 0) == 0
