"""A change is applied to every live connection at once, and time to each when it comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from spiffe_mcp.audit import Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, X509Svid, verify_chain
from spiffe_mcp.identity.sources.feed import Feed
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh import live as live_module
from spiffe_mcp.mesh.authorized import Authorized
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.live import Entry, LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.tls import Peer
from tests.fakes.mini_ca import MiniCa
from tests.unit.tls.ends import NOW, ca

HOUR = timedelta(hours=1)
OWN = ca().issue("/own", lifetime=2 * HOUR)


def bundles(*authorities: MiniCa) -> BundleSet:
    of_a = tuple(der for authority in authorities for der in authority.bundle_der)
    return BundleSet.from_der({"a.test": of_a})


class Connected:
    """A live connection that remembers what was done to it."""

    def __init__(self) -> None:
        self.drained, self.ended, self.was_cut = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.why: Refused | None = None

    def drain(self) -> None:
        assert not self.drained.is_set()
        self.drained.set()

    def end(self, refused: Refused) -> None:
        self.why = refused
        self.ended.set()

    def cut(self, refused: Refused) -> None:
        self.why = refused
        self.was_cut.set()

    @property
    def untouched(self) -> bool:
        return not (self.drained.is_set() or self.ended.is_set() or self.was_cut.is_set())


class Told(Unobserved):
    def __init__(self) -> None:
        self.cuts: list[tuple[Side, Reason]] = []

    def cut(self, side: Side, refused: Refused) -> None:
        self.cuts.append((side, refused.reason))


@dataclass
class Mesh:
    """A registry at work, and the world it watches."""

    live: LiveConnections
    states: Feed[IdentityState | None]
    told: Told
    now: datetime = NOW
    peers: Authorized = field(
        default_factory=lambda: Authorized(AllowedIds((IdPattern.parse("spiffe://a.test/**"),)))
    )

    def open(self, svid: X509Svid, side: Side = Side.INGRESS) -> tuple[Connected, Entry]:
        """A connection of `svid`, as after its handshake."""
        connection = Connected()
        peer = Peer(svid.spiffe_id, svid.chain_der, svid.not_after)
        entry = self.live.opened(side, peer, OWN.not_after, self.peers, connection)
        return connection, entry

    def trust(self, *authorities: MiniCa) -> None:
        self.states.publish(IdentityState(OWN, bundles(*authorities)))


@asynccontextmanager
async def watching(longest: timedelta = HOUR) -> AsyncIterator[Mesh]:
    states: Feed[IdentityState | None] = Feed(IdentityState(OWN, bundles(ca())))
    told = Told()

    async def following() -> AsyncIterator[IdentityState | None]:
        state = states.newest
        while True:
            yield state
            state = await states.after(state)

    def clock() -> datetime:
        return mesh.now

    snapshots = Snapshots(clock)
    live = LiveConnections(snapshots, clock=clock, observer=told, jitter=lambda: 0.0, longest=longest)
    mesh = Mesh(live, states, told)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(snapshots.follow(following())), tasks.create_task(live.run())]
        await snapshots.first()
        yield mesh
        for task in running:
            task.cancel()


# -- a change -----------------------------------------------------------------------------------------------


async def test_a_revoked_authority_takes_its_connections_and_no_others() -> None:
    other = MiniCa("a.test", now=NOW)
    async with watching() as mesh:
        mesh.trust(ca(), other)
        theirs, _ = mesh.open(other.issue("/bob"))
        ours, _ = mesh.open(ca().issue("/bob"), Side.EGRESS)
        mesh.trust(ca())
        await theirs.was_cut.wait()
        assert theirs.why is not None
        assert theirs.why.reason is Reason.CHAIN_UNTRUSTED
        assert ours.untouched
        assert mesh.told.cuts == [(Side.INGRESS, Reason.CHAIN_UNTRUSTED)]
        assert len(mesh.live) == 1


async def test_an_identity_that_is_withdrawn_takes_every_connection() -> None:
    async with watching() as mesh:
        each = [mesh.open(ca().issue("/bob"), side)[0] for side in Side]
        mesh.states.publish(None)
        for connection in each:
            await connection.was_cut.wait()
        assert {reason for _, reason in mesh.told.cuts} == {Reason.IDENTITY_UNAVAILABLE}
        assert len(mesh.live) == 0


async def test_a_list_that_has_become_shorter_takes_those_who_are_no_longer_on_it() -> None:
    async with watching() as mesh:
        bob, _ = mesh.open(ca().issue("/bob"))
        alice, _ = mesh.open(ca().issue("/alice"))
        mesh.peers.allowed = AllowedIds((IdPattern.parse("spiffe://a.test/alice"),))
        mesh.live.recheck()
        await bob.was_cut.wait()
        assert alice.untouched
        assert mesh.told.cuts == [(Side.INGRESS, Reason.ID_NOT_AUTHORIZED)]


async def test_a_rotation_touches_nobody() -> None:
    async with watching() as mesh:
        bob, _ = mesh.open(ca().issue("/bob"))
        mesh.states.publish(IdentityState(ca().issue("/own", lifetime=2 * HOUR), bundles(ca())))
        alice, _ = mesh.open(MiniCa("a.test", now=NOW).issue("/alice"))
        await alice.was_cut.wait()  # so the pass is over
        assert bob.untouched


async def test_a_connection_that_is_gone_is_not_cut_again() -> None:
    async with watching() as mesh:
        gone, entry = mesh.open(ca().issue("/bob"))
        other, _ = mesh.open(ca().issue("/bob"))
        mesh.live.closed(entry)
        mesh.live.closed(entry)
        mesh.states.publish(None)
        await other.was_cut.wait()
        assert gone.untouched


async def test_a_handshake_under_way_is_judged_by_what_is_newest_when_it_completes() -> None:
    async with watching() as mesh:
        verify = mesh.live.verifier(mesh.peers)
        bob, other = ca().issue("/bob"), MiniCa("a.test", now=NOW)
        assert verify(bob.chain_der).spiffe_id == bob.spiffe_id
        sentinel, _ = mesh.open(bob)
        mesh.trust(other)
        await sentinel.was_cut.wait()
        assert refusal(lambda: verify(bob.chain_der)) is Reason.CHAIN_UNTRUSTED
        assert verify(other.issue("/bob").chain_der).spiffe_id == bob.spiffe_id
        mesh.peers.allowed = AllowedIds()
        assert refusal(lambda: verify(other.issue("/bob").chain_der)) is Reason.ID_NOT_AUTHORIZED


def refusal(asked: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        asked()
    return caught.value.reason


async def test_a_chain_is_verified_once_a_change_however_many_connections_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified = []

    def counted(chain_der: tuple[bytes, ...], trusted: BundleSet, now: datetime) -> object:
        verified.append(chain_der)
        return verify_chain(chain_der, trusted, now)

    async with watching() as mesh:
        svids = [ca().issue(f"/{name}") for name in "abc"]
        for _ in range(1000):
            for svid in svids:
                mesh.open(svid)
        stranger, _ = mesh.open(MiniCa("a.test", now=NOW).issue("/stranger"))
        monkeypatch.setattr(live_module, "verify_chain", counted)
        mesh.live.recheck()
        await stranger.was_cut.wait()
        assert len(verified) == len(svids) + 1
        assert len(mesh.live) == 3000


async def test_the_loop_turns_while_thousands_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many distinct chains there are, nobody else waits for all of them."""
    between: list[int] = []

    def counted(*_: object) -> None:
        between[-1] += 1

    async with watching() as mesh:
        (authority,) = ca().issue("/x").chain_der
        for number in range(1000):
            svid = ca().issue("/bob")
            peer = Peer(svid.spiffe_id, (authority, b"%d" % number), svid.not_after)
            mesh.live.opened(Side.INGRESS, peer, OWN.not_after, mesh.peers, Connected())
        monkeypatch.setattr(live_module, "verify_chain", counted)
        between.append(0)
        mesh.live.recheck()
        while sum(between) < 1000:
            await asyncio.sleep(0)
            between.append(0)
    assert max(between) <= live_module.SLICE


# -- time ---------------------------------------------------------------------------------------------------


async def test_a_connection_is_drained_and_then_ended() -> None:
    async with watching(timedelta(minutes=10)) as mesh:
        bob, _ = mesh.open(ca().issue("/bob"))
        mesh.now += timedelta(minutes=9)
        await bob.drained.wait()
        assert not bob.ended.is_set()
        mesh.now += timedelta(minutes=1)
        await bob.ended.wait()
        assert bob.why is not None
        assert bob.why.reason is Reason.TLS_LIFETIME
        assert len(mesh.live) == 0
        assert mesh.told.cuts == []  # its time was over; nobody was refused


async def test_it_does_not_outlive_the_svid_of_its_peer() -> None:
    async with watching() as mesh:
        bob, _ = mesh.open(ca().issue("/bob", lifetime=timedelta(minutes=5)))
        alice, _ = mesh.open(ca().issue("/alice", lifetime=timedelta(minutes=30)))
        mesh.now += timedelta(minutes=5)
        await bob.ended.wait()
        assert alice.untouched


async def test_a_clock_that_jumps_ends_what_it_jumps_past() -> None:
    async with watching() as mesh:
        bob, _ = mesh.open(ca().issue("/bob", lifetime=HOUR))
        mesh.now += timedelta(days=1)
        await bob.ended.wait()
        assert not bob.drained.is_set()
