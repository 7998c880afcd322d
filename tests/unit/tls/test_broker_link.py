"""The link to a broker, with a real broker's TLS at the other end: who is proved, and what rotation does."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, SpiffeId
from spiffe_mcp.identity.sources.broker import BrokerSource
from spiffe_mcp.identity.sources.events import Denied, Disconnected
from spiffe_mcp.identity.sources.reference import PidReference
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import SvidPart, Update
from spiffe_mcp.identity.wanted import FirstOffered
from spiffe_mcp.tls.broker_link import RelayedBrokerLink
from tests.fakes.broker import SPIRE_AGENT, FakeBroker
from tests.fakes.identity_source import FakeSource
from tests.fakes.mini_ca import MiniCa
from tests.fakes.watch import Watch
from tests.unit.tls.ends import EXPIRED, allowed, bundles, ca, clock

SPIRE_AGENTS = allowed("spiffe://a.test/spire/agent/**")
ONE, TWO = PidReference(1001), PidReference(1002)


def agent(path: str = "/mesh-agent", of: MiniCa | None = None) -> IdentityState:
    return IdentityState((of or ca()).issue(path), bundles(ca()))


def source(state: IdentityState) -> FakeSource:
    made = FakeSource()
    made.feed.publish(state)
    return made


def update(path: str) -> Update:
    chain, key = ca().issue_der(path)
    return Update((SvidPart(f"spiffe://a.test{path}", b"".join(chain), key, ca().bundle_der[0]),))


def link_to(broker: FakeBroker, own: FakeSource, server: AllowedIds = SPIRE_AGENTS) -> RelayedBrokerLink:
    return RelayedBrokerLink(broker.address, own, server=server, clock=clock)


def watching(link: RelayedBrokerLink, reference: PidReference, seconds: float = 9) -> Watch:
    return Watch(
        lambda hear: BrokerSource(
            link,
            reference,
            wanted=FirstOffered(),
            clock=clock,
            on_event=hear,
            refresh=timedelta(seconds=seconds),
        )
    )


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[FakeBroker]:
    async with FakeBroker(tmp_path / "broker.sock", ca()) as broker:
        broker.offer(ONE, update("/one"))
        broker.offer(TWO, update("/two"))
        yield broker


async def test_workloads_share_a_link_and_nothing_else(broker: FakeBroker) -> None:
    link = link_to(broker, source(agent()))
    async with watching(link, ONE).running(link.run) as one, watching(link, TWO).running() as two:
        assert (await one.path("/one")).svid.key is not (await two.path("/two")).svid.key
    assert {*broker.callers} == {"spiffe://a.test/mesh-agent"}


async def test_the_newest_svid_of_the_agent_is_shown_to_whoever_is_asked_next(broker: FakeBroker) -> None:
    own = source(agent("/mesh-agent"))
    link = link_to(broker, own)
    async with watching(link, ONE, 0.05).running(link.run) as watch:
        await watch.path("/one")
        own.feed.publish(agent("/rotated"))
        opened = broker.of(ONE).opened
        await broker.of(ONE).until_opened(opened + 2)  # the one that was under way may be with the old SVID
        assert broker.callers[-1] == "spiffe://a.test/rotated"
        assert [type(event).__name__ for event in watch.said if not isinstance(event, Denied)] == ["Updated"]


async def test_an_agent_whose_own_identity_is_withdrawn_holds_no_keys_of_others(broker: FakeBroker) -> None:
    own = source(agent())
    link = link_to(broker, own)
    async with watching(link, ONE).running(link.run) as watch:
        await watch.path("/one")
        own.feed.publish(None)
        await watch.withdrawn()
        own.feed.publish(agent())
        await watch.path("/one")


async def test_an_svid_of_the_agent_that_has_expired_is_not_shown_and_that_is_an_outage(
    broker: FakeBroker,
) -> None:
    expired = ca().issue("/mesh-agent", **EXPIRED)
    link = link_to(broker, source(IdentityState(expired, bundles(ca()))))
    async with watching(link, ONE).running(link.run) as watch:
        outage = await watch.first(Disconnected)
        assert outage.detail.endswith("(identity.broker_no_identity)")
    assert broker.callers == []


async def test_a_broker_of_another_id_is_asked_for_nothing(broker: FakeBroker) -> None:
    link = link_to(broker, source(agent()), AllowedIds.only(SpiffeId.parse("spiffe://a.test/x")))
    async with watching(link, ONE).running(link.run) as watch:
        outage = await watch.first(Disconnected)
        assert f"identity.id_not_authorized: spiffe://a.test{SPIRE_AGENT}" in outage.detail
    assert broker.callers == []


async def test_an_agent_that_the_broker_does_not_know_sees_an_outage_and_is_told_why(
    broker: FakeBroker,
) -> None:
    link = link_to(broker, source(agent(of=MiniCa("a.test", now=clock()))))
    async with watching(link, ONE).running(link.run) as watch:
        outage = await watch.first(Disconnected)
        assert outage.code == "UNAVAILABLE"
        # What we still send may meet a closed connection before the alert is read.
        assert re.search(r" \((tls\.\w+: .*|\w+Error)\)$", outage.detail)
        assert watch.current is None
    assert broker.callers == []


async def test_before_the_link_runs_there_is_no_identity(broker: FakeBroker) -> None:
    link = link_to(broker, source(agent()))
    with pytest.raises(Refused) as refused:
        await link.channel().__aenter__()
    assert refused.value.reason is Reason.BROKER_NO_IDENTITY
    async with watching(link, ONE).running() as watch:
        await watch.next(Denied)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            await watch.path("/one")
            running.cancel()


def test_an_address_that_is_no_unix_socket_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        RelayedBrokerLink("tcp://127.0.0.1:1", FakeSource(), server=SPIRE_AGENTS, clock=clock)
    assert refused.value.reason is Reason.BROKER_ADDRESS
