"""A call leaves on a hop whose server has proved to be the one it is for, with the SVID it was signed by."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from spiffe_mcp.audit import Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, Response, ResponseHead
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, SpiffeId, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh import egress
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.egress import ExchangeIds, OutboundCall, Proved
from spiffe_mcp.mesh.hops import Destination, Hop, Hops
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.routes import EgressRoute, ServerName
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol
from tests.exchange.playbook import ALICE, call
from tests.fakes.mini_ca import MiniCa

NOW = datetime.now(UTC)  # noqa: TID251  OpenSSL's own check reads the real clock
WEATHER = SpiffeId.parse("spiffe://a.test/weather")
BANK = SpiffeId.parse("spiffe://a.test/bank")


@cache
def ca() -> MiniCa:
    return MiniCa("a.test", now=NOW)


def snapshot(svid: X509Svid) -> Snapshot:
    state = IdentityState(svid, BundleSet.from_der({"a.test": ca().bundle_der}))
    return Snapshot.of(state, TlsIdentity(state, lambda: NOW))


@dataclass
class Server:
    """A server on a hop. It remembers who shook hands, who was refused, and what was asked."""

    address: Address
    peers: list[Peer] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        await self.answer.wait()
        await reply.send(ResponseHead(200, ()), b"%d" % len(self.requests))

    def rejected(self, refused: Refused) -> None:
        raise AssertionError(refused)


@asynccontextmanager
async def serving(name: SpiffeId = WEATHER) -> AsyncIterator[Server]:
    """A server that is `name`, on a port of the kernel's choice."""
    own = snapshot(ca().issue(name.path)).tls
    async with asyncio.TaskGroup() as tasks:
        http = HttpServer(tasks, Limits())
        server = Server(Address("127.0.0.1", 0))
        server.answer.set()

        def secured(peer: Peer) -> Any:
            server.peers.append(peer)
            return http.connection(server)

        def accept() -> asyncio.Protocol:
            return TlsProtocol(
                own.accept(AllowedIds((IdPattern.parse("spiffe://a.test/**"),))),
                on_secured=secured,
                on_refused=lambda _, refused: server.refusals.append(refused),
            )

        async with listening(server.address, accept) as bound:
            assert isinstance(bound, Address)
            server.address = bound
            yield server
            http.close()


class Told(Unobserved):
    """Remembers what was said of handshakes."""

    def __init__(self) -> None:
        self.handshakes: list[Reason | None] = []
        self.failed: list[Reason] = []

    def address_failed(self, refused: Refused) -> None:
        self.failed.append(refused.reason)

    def handshake(self, side: Side, refused: Refused | None) -> None:
        assert side is Side.EGRESS
        self.handshakes.append(refused.reason if refused else None)


@dataclass
class Dialling:
    """The hops of an egress, and what it knows of them."""

    hops: Hops
    live: LiveConnections
    told: Told

    async def hop(self, server: Server, by: Snapshot, to: str = str(WEATHER)) -> Hop:
        return await self.hops.lease(Destination((server.address,), allowed(to)), by)

    async def sent(self, server: Server, by: Snapshot, to: str = str(WEATHER)) -> bytes:
        """The answer to one call."""
        async with (
            await self.hop(server, by, to) as hop,
            await hop.send(outbound(server, by, hop.server, to)) as response,
        ):
            return await response.body(100)


@cache
def allowed(pattern: str) -> AllowedIds:
    return AllowedIds((IdPattern.parse(pattern),))


@asynccontextmanager
async def dialling() -> AsyncIterator[Dialling]:
    told = Told()
    live = await watching(ca(), told)
    hops = Hops(live, told, jitter=lambda: 1.0)
    try:
        yield Dialling(hops, live, told)
    finally:
        hops.close()
        await asyncio.sleep(0)


async def watching(trusted: MiniCa, told: Told) -> LiveConnections:
    """What judges by the bundle of `trusted`."""
    snapshots = Snapshots(lambda: NOW)
    live = LiveConnections(snapshots, clock=lambda: NOW, observer=told, jitter=lambda: 0.0)

    async def states() -> AsyncIterator[IdentityState]:
        yield IdentityState(ca().issue("/planner"), BundleSet.from_der({"a.test": trusted.bundle_der}))

    await snapshots.follow(states())
    return live


def outbound(server: Server, by: Snapshot, to: SpiffeId = WEATHER, pattern: str = "") -> OutboundCall:
    request = call()
    return egress.admit(
        request,
        egress.read(request),
        route=EgressRoute(ServerName("weather"), IdPattern.parse(pattern or str(to)), (server.address,)),
        proved=Proved(to, server.address),
        user=ALICE,
        snapshot=by,
        ids=ExchangeIds("t", "j"),
        now=NOW,
    )


async def test_the_server_gets_the_request_that_was_admitted_from_whom_it_says() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        admitted = outbound(server, planner)
        async with await hops.hop(server, planner) as hop, await hop.send(admitted) as response:
            assert await response.body(100) == b"1"
        (request,), (peer,) = server.requests, server.peers
    assert (request.method, request.target, request.body) == (b"POST", b"/weather/mcp", admitted.request.body)
    assert [pair for pair in request.headers if pair[0] != b"content-length"] == [*admitted.request.headers]
    assert peer.spiffe_id == planner.spiffe_id


async def test_a_hop_is_used_again_while_its_proof_is_the_one_that_is_needed() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        for _ in range(3):
            await hops.sent(server, planner)
        assert len(server.peers) == 1


async def test_after_a_rotation_new_calls_shake_hands_anew() -> None:
    """A context is bound to the certificate of its connection, so an older hop could not carry it."""
    old, new = ca().issue("/planner"), ca().issue("/planner")
    async with serving() as server, dialling() as hops:
        for by in (snapshot(old), snapshot(new)):
            await hops.sent(server, by)
        assert [peer.leaf_der for peer in server.peers] == [old.chain_der[0], new.chain_der[0]]
        assert len(hops.hops._pools) == 1  # nothing is left that the older SVID opened


async def test_a_rotation_cuts_nothing_that_is_running() -> None:
    async with serving() as server, dialling() as hops, asyncio.TaskGroup() as tasks:
        server.answer.clear()
        running = tasks.create_task(hops.sent(server, snapshot(ca().issue("/planner"))))
        while not server.requests:  # noqa: ASYNC110  the other end of a socket has no event for tests
            await asyncio.sleep(0)
        later = tasks.create_task(hops.sent(server, snapshot(ca().issue("/planner"))))
        while len(server.requests) < 2:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        server.answer.set()
        assert {await running, await later} == {b"2"}


async def test_a_server_that_is_somebody_else_gets_nothing() -> None:
    """Not a byte of the request, and not our certificate either."""
    async with serving(BANK) as server, dialling() as hops:
        with pytest.raises(Refused) as caught:
            await hops.hop(server, snapshot(ca().issue("/planner")))
        assert hops.told.handshakes == [Reason.ID_NOT_AUTHORIZED]
        assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
        while not server.refusals:  # noqa: ASYNC110  the other end of a socket has no event for tests
            await asyncio.sleep(0)
        assert (server.peers, server.requests) == ([], [])


async def test_one_address_with_two_names_is_two_hops() -> None:
    """A pooled connection has proved one name, and is good for no other."""
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        await hops.sent(server, planner)
        with pytest.raises(Refused) as caught:
            await hops.sent(server, planner, to=str(BANK))
        assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
        assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with serving() as server:
        pass
    async with dialling() as hops:
        with pytest.raises(Refused) as caught:
            await hops.hop(server, snapshot(ca().issue("/planner")))
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE


def anywhere(*servers: Server, to: SpiffeId = WEATHER) -> Destination:
    return Destination(tuple(server.address for server in servers), allowed(str(to)))


async def test_the_next_address_is_taken_while_nothing_was_said() -> None:
    """The server that is gone is left alone for a while: the second call does not knock there again."""
    planner = snapshot(ca().issue("/planner"))
    async with serving() as gone:
        pass
    async with serving() as server, dialling() as hops:
        for _ in range(2):
            async with await hops.hops.lease(anywhere(gone, server), planner) as hop:
                assert hop.address == server.address
        assert hops.told.failed == [Reason.UPSTREAM_UNREACHABLE]


async def test_a_preferred_address_is_used_as_long_as_it_answers() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as preferred, serving() as spare, dialling() as hops:
        for _ in range(3):
            async with await hops.hops.lease(anywhere(preferred, spare), planner) as hop:
                assert hop.address == preferred.address
        assert spare.peers == []


async def test_somebody_else_at_one_address_gets_nothing_and_harms_no_other() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving(BANK) as bank, serving() as weather, dialling() as hops:
        async with await hops.hops.lease(anywhere(bank, weather), planner) as hop:
            assert (hop.server, hop.address) == (WEATHER, weather.address)
        assert hops.told.handshakes == [Reason.ID_NOT_AUTHORIZED]
        async with await hops.hops.lease(anywhere(bank, weather, to=BANK), planner) as hop:
            assert hop.address == bank.address  # who asks for the bank finds it
        assert (bank.requests, weather.requests) == ([], [])


async def test_where_all_addresses_fail_the_preferred_one_says_why_and_is_tried_again() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as gone:
        pass
    async with serving(BANK) as bank, dialling() as hops:
        for _ in range(2):
            with pytest.raises(Refused) as caught:
                await hops.hops.lease(anywhere(bank, gone), planner)
            assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
        assert hops.told.handshakes == [Reason.ID_NOT_AUTHORIZED] * 2


async def test_a_call_that_fails_on_its_hop_is_sent_nowhere_else() -> None:
    """Once a byte went out, nobody knows what the server has done."""
    planner = snapshot(ca().issue("/planner"))
    async with serving() as first, serving() as second, dialling() as hops:
        first.answer.clear()
        async with (
            asyncio.TaskGroup() as tasks,
            await hops.hops.lease(anywhere(first, second), planner) as hop,
        ):
            sending = tasks.create_task(outcome(hop.send(outbound(first, planner))))
            while not first.requests:  # noqa: ASYNC110  the other end of a socket has no event for tests
                await asyncio.sleep(0)
            assert isinstance(hop._connection, asyncio.Protocol)
            hop._connection.abort()
            assert await sending is Reason.UPSTREAM_BROKEN
            first.answer.set()
        assert (len(first.requests), second.requests) == (1, [])


async def outcome(sent: Coroutine[Any, Any, Response]) -> Reason | None:
    try:
        async with await sent:
            return None
    except Refused as refused:
        return refused.reason


class Mute(asyncio.Protocol):
    """Accepts a connection, says nothing, and tells when it has ended."""

    def __init__(self) -> None:
        self.reached, self.left = asyncio.Event(), asyncio.Event()

    def data_received(self, _: bytes) -> None:
        self.reached.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.left.set()


async def test_a_caller_that_leaves_during_the_handshake_takes_the_connection_with_it() -> None:
    mute = Mute()
    async with listening(Address("127.0.0.1", 0), lambda: mute) as address, dialling() as hops:
        assert isinstance(address, Address)
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(hops.hop(Server(address), snapshot(ca().issue("/planner"))))
            await mute.reached.wait()
            calling.cancel()
        await mute.left.wait()


async def test_a_server_that_hangs_up_during_the_handshake_is_a_refusal() -> None:
    class HangsUp(Mute):
        """Cuts the line at the first byte."""

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, _: bytes) -> None:
            self.transport.close()

    async with listening(Address("127.0.0.1", 0), HangsUp) as address, dialling() as hops:
        assert isinstance(address, Address)
        with pytest.raises(Refused) as caught:
            await hops.hop(Server(address), snapshot(ca().issue("/planner")))
        assert caught.value.reason is Reason.TLS_HANDSHAKE


EITHER = "spiffe://a.test/*"


async def test_by_a_pattern_each_hop_names_the_very_server_that_it_leads_to() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with (
        serving(WEATHER) as weather,
        serving(BANK) as bank,
        dialling() as hops,
        await hops.hop(weather, planner, EITHER) as one,
        await hops.hop(bank, planner, EITHER) as two,
    ):
        assert (one.server, two.server) == (WEATHER, BANK)


async def test_a_call_goes_on_no_hop_to_another_server_than_it_is_for() -> None:
    """Nor on one of another SVID. Nothing is sent, and the hop is good for the call that it is leased for."""
    planner, rotated = snapshot(ca().issue("/planner")), snapshot(ca().issue("/planner"))
    async with (
        serving(WEATHER) as weather,
        dialling() as hops,
        await hops.hop(weather, planner, EITHER) as hop,
    ):
        for by, to in ((planner, BANK), (rotated, WEATHER)):
            with pytest.raises(ValueError, match="another hop"):
                await hop.send(outbound(weather, by, to, EITHER))
        assert weather.requests == []
        async with await hop.send(outbound(weather, planner, WEATHER, EITHER)) as response:
            assert await response.body(100) == b"1"
        with pytest.raises(ValueError, match="another hop"):  # a lease is for one call
            await hop.send(outbound(weather, planner, WEATHER, EITHER))


async def test_a_hop_on_which_nothing_was_sent_is_there_for_the_next_call() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        async with await hops.hop(server, planner):
            pass
        assert await hops.sent(server, planner) == b"1"
        assert len(server.peers) == 1


async def test_live_hops_are_known_until_they_end() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        await hops.sent(server, planner)
        assert len(hops.live) == 1
        hops.hops.close()
        while len(hops.live):  # noqa: ASYNC110  the other end of a socket has no event for tests
            await asyncio.sleep(0)
