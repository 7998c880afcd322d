"""A call leaves on a hop whose server has proved to be the one it is for, with the SVID it was signed by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, ResponseHead
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, SpiffeId, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh import egress
from spiffe_mcp.mesh.egress import ExchangeIds, OutboundCall
from spiffe_mcp.mesh.hops import Hops
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.routes import Address, EgressRoute, ServerName
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


@asynccontextmanager
async def dialling() -> AsyncIterator[Hops]:
    hops = Hops()
    try:
        yield hops
    finally:
        hops.close()
        await asyncio.sleep(0)


def outbound(server: Server, by: Snapshot, to: SpiffeId = WEATHER) -> OutboundCall:
    request = call()
    return egress.admit(
        request,
        egress.read(request),
        route=EgressRoute(ServerName("weather"), to, server.address),
        user=ALICE,
        snapshot=by,
        ids=ExchangeIds("t", "j"),
        now=NOW,
    )


async def sent(hops: Hops, admitted: OutboundCall) -> bytes:
    async with await hops.send(admitted) as response:
        return await response.body(100)


async def test_the_server_gets_the_request_that_was_admitted_from_whom_it_says() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        admitted = outbound(server, planner)
        assert await sent(hops, admitted) == b"1"
        (request,), (peer,) = server.requests, server.peers
    assert (request.method, request.target, request.body) == (b"POST", b"/weather/mcp", admitted.request.body)
    assert [pair for pair in request.headers if pair[0] != b"content-length"] == [*admitted.request.headers]
    assert peer.spiffe_id == planner.spiffe_id


async def test_a_hop_is_used_again_while_its_proof_is_the_one_that_is_needed() -> None:
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        for _ in range(3):
            await sent(hops, outbound(server, planner))
        assert len(server.peers) == 1


async def test_after_a_rotation_new_calls_shake_hands_anew() -> None:
    """A context is bound to the certificate of its connection, so an older hop could not carry it."""
    old, new = ca().issue("/planner"), ca().issue("/planner")
    async with serving() as server, dialling() as hops:
        for by in (snapshot(old), snapshot(new)):
            await sent(hops, outbound(server, by))
        assert [peer.leaf_der for peer in server.peers] == [old.chain_der[0], new.chain_der[0]]
        assert len(hops._pools) == 1  # nothing is left that the older SVID opened


async def test_a_rotation_cuts_nothing_that_is_running() -> None:
    async with serving() as server, dialling() as hops, asyncio.TaskGroup() as tasks:
        server.answer.clear()
        running = tasks.create_task(sent(hops, outbound(server, snapshot(ca().issue("/planner")))))
        while not server.requests:  # noqa: ASYNC110  the other end of a socket has no event for tests
            await asyncio.sleep(0)
        later = tasks.create_task(sent(hops, outbound(server, snapshot(ca().issue("/planner")))))
        while len(server.requests) < 2:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        server.answer.set()
        assert {await running, await later} == {b"2"}


async def test_a_server_that_is_somebody_else_gets_nothing() -> None:
    """Not a byte of the request, and not our certificate either."""
    async with serving(BANK) as server, dialling() as hops:
        with pytest.raises(Refused) as caught:
            await hops.send(outbound(server, snapshot(ca().issue("/planner"))))
        assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
        while not server.refusals:  # noqa: ASYNC110  the other end of a socket has no event for tests
            await asyncio.sleep(0)
        assert (server.peers, server.requests) == ([], [])


async def test_one_address_with_two_names_is_two_hops() -> None:
    """A pooled connection has proved one name, and is good for no other."""
    planner = snapshot(ca().issue("/planner"))
    async with serving() as server, dialling() as hops:
        await sent(hops, outbound(server, planner))
        with pytest.raises(Refused) as caught:
            await hops.send(outbound(server, planner, to=BANK))
        assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
        assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with serving() as server:
        pass
    async with dialling() as hops:
        with pytest.raises(Refused) as caught:
            await hops.send(outbound(server, snapshot(ca().issue("/planner"))))
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE


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
        admitted = outbound(Server(address), snapshot(ca().issue("/planner")))
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(hops.send(admitted))
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
            await hops.send(outbound(Server(address), snapshot(ca().issue("/planner"))))
        assert caught.value.reason is Reason.TLS_HANDSHAKE
