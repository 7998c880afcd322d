"""What a source holds, and what is said of it: messages in, states and events out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.sources import held
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.sources.held import HeldIdentity, NotIssued
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update
from spiffe_mcp.identity.wanted import ById
from tests.fakes.mini_ca import HOUR, NOW, MiniCa
from tests.fakes.watch import PATIENCE, Clock

CA = MiniCa("a.test")
SOON = 0.02
GARBAGE = Update((SvidPart("spiffe://a.test/w", b"garbage", b"", CA.bundle_der[0]),))
NOBODYS = Update((SvidPart("spiffe://a.test/other", b"", b"", b""),))


def update(federated: dict[str, bytes] | None = None) -> Update:
    chain, key = CA.issue_der("/w")
    return Update(
        (SvidPart("spiffe://a.test/w", b"".join(chain), key, b"".join(CA.bundle_der)),), federated or {}
    )


@dataclass
class Held:
    """An identity that is held, and what was said of it."""

    clock: Clock = field(default_factory=lambda: Clock(NOW))
    said: list[SourceEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = HeldIdentity(
            wanted=ById(SpiffeId.parse("spiffe://a.test/w")), clock=self.clock, on_event=self.said.append
        )

    async def changes(self, state: IdentityState | None) -> AsyncIterator[IdentityState | None]:
        """Every state that follows `state`."""
        async for newest in self.identity.feed.states():
            if newest is not state:
                yield newest

    @property
    def kinds(self) -> list[type[SourceEvent]]:
        return [type(event) for event in self.said]


@pytest.fixture
def it(monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(held, "JUDGE_AGAIN_SECONDS", SOON)
    monkeypatch.setitem(held._SECONDS_TO_RETURN, Reason.SVID_NOT_ISSUED, SOON)
    return Held()


def test_a_good_message_is_in_force_and_said_and_the_same_again_is_neither(it: Held) -> None:
    same = update()
    it.identity.take(same)
    state = it.identity.feed.current
    it.identity.take(same)
    assert it.identity.feed.current is state
    assert it.kinds == [Updated]


async def test_no_svid_withdraws_and_no_earlier_message_brings_the_identity_back(it: Held) -> None:
    it.identity.take(update())
    it.identity.take(NotIssued())
    assert it.said[-1] == Denied(Reason.SVID_NOT_ISSUED, "no SVID for the workload")
    it.identity.take(NotIssued())  # said twice, it is meant
    assert it.identity.feed.current is None
    it.identity.take(GARBAGE)
    assert it.identity.feed.current is None


@pytest.mark.parametrize("refusal", [NotIssued(), NOBODYS])
async def test_a_refusal_that_is_followed_by_nothing_good_withdraws_soon(
    it: Held, refusal: NotIssued | Update
) -> None:
    it.identity.take(update())
    state = it.identity.feed.current
    it.identity.take(refusal)
    it.identity.take(GARBAGE)
    async with asyncio.timeout(PATIENCE):
        assert await anext(it.changes(state)) is None


async def test_a_refusal_that_is_followed_by_the_svid_withdraws_nothing(it: Held) -> None:
    same = update()
    it.identity.take(same)
    state = it.identity.feed.current
    it.identity.take(NotIssued())
    it.identity.take(same)
    it.identity.take(NotIssued())  # the first one again: it is waited for
    assert it.identity.feed.current is state
    it.identity.let_go()


async def test_what_lasts_is_said_once_and_again_when_it_comes_back(it: Held) -> None:
    bad = update({"spiffe://b.test": b"garbage"})
    for message in (NotIssued(), NotIssued(), bad, bad, update(), bad, NotIssued()):
        it.identity.take(message)
    it.identity.let_go()
    assert it.kinds == [Denied, PartRefused, Updated, Updated, PartRefused, Updated, Denied]


def test_a_trouble_is_said_once_until_another_comes_or_it_is_over(it: Held) -> None:
    away, limited = Disconnected("UNAVAILABLE", "x"), Disconnected("RESOURCE_EXHAUSTED", "x")
    for trouble in (away, Disconnected("UNAVAILABLE", "in other words"), limited, away):
        it.identity.report(trouble)
    it.identity.take(update())
    it.identity.report(away)
    assert it.kinds == [Disconnected, Disconnected, Disconnected, Reconnected, Updated, Disconnected]


def test_the_end_of_an_outage_is_said_once_however_often_it_was_tried(it: Held) -> None:
    same = update()
    it.identity.take(same)
    for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        it.identity.report(Disconnected(code, "x"))
    it.identity.take(same)
    it.identity.take(same)
    assert it.said[-1] == Reconnected("RESOURCE_EXHAUSTED")
    assert it.kinds.count(Reconnected) == 1


async def test_a_refusal_does_not_end_an_outage_and_a_message_after_it_does(it: Held) -> None:
    """Who refuses may be our own side, which has no identity to dial with."""
    it.identity.report(Disconnected("UNAVAILABLE", "x"))
    it.identity.deny(Denied(Reason.BROKER_NO_IDENTITY, ""))
    assert it.kinds == [Disconnected, Denied]
    it.identity.take(update())
    assert it.kinds == [Disconnected, Denied, Reconnected, Updated]


def test_what_is_still_wrong_after_an_outage_is_said_again(it: Held) -> None:
    """The newest event explains why an agent is not ready: it has to be the trouble, not the good news."""
    it.identity.take(GARBAGE)
    it.identity.report(Disconnected("UNAVAILABLE", "x"))
    it.identity.take(GARBAGE)
    it.identity.take(GARBAGE)
    assert it.kinds == [PartRefused, Disconnected, Reconnected, PartRefused]


def test_a_rejection_drops_the_keys(it: Held) -> None:
    it.identity.take(update())
    it.identity.reject(Rejected(Reason.BROKER_REJECTED, "x"))
    assert it.identity.feed.current is None
    assert it.kinds == [Updated, Rejected]


@pytest.mark.parametrize("wrong_by", [-HOUR, 2 * HOUR])
async def test_an_svid_that_a_wrong_clock_refused_is_taken_when_the_clock_is_right(
    it: Held, wrong_by: timedelta
) -> None:
    it.clock.now = NOW + wrong_by
    it.identity.take(update())
    assert it.identity.feed.current is None
    it.clock.now = NOW
    async with asyncio.timeout(PATIENCE):
        assert (await it.identity.feed.wait_ready()).valid_at(NOW)
    assert it.kinds == [PartRefused, Updated]


@pytest.mark.parametrize(
    "end",
    [
        lambda it: it.take(NotIssued()),
        lambda it: it.deny(Denied(Reason.WORKLOAD_API_DENIED, "")),
        HeldIdentity.let_go,
    ],
)
async def test_a_message_that_waits_for_the_clock_does_not_outlive_what_ends_it(
    it: Held, end: object
) -> None:
    it.clock.now = NOW - HOUR
    it.identity.take(update())
    assert callable(end)
    end(it.identity)
    it.clock.now = NOW
    await asyncio.sleep(3 * SOON)  # what must not happen has no event
    assert it.identity.feed.current is None
