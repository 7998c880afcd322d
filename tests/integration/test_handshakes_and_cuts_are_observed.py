"""Whoever watches is told of each handshake, on both sides, by its end; and of each cut."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from spiffe_mcp.audit import AuditLog, Fsync, Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern
from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Destination, Hops
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.ingress_listener import IngressListener, Site
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.policy import PolicyEngine
from tests.fakes.mcp_client import Hop as Client
from tests.fakes.mcp_client import call, now
from tests.fakes.mini_ca import MiniCa

CA = MiniCa("a.test", now=now())
BUNDLES = BundleSet.from_der({"a.test": CA.bundle_der})
SERVER = CA.issue("/server")
ADMITTED = AllowedIds((IdPattern.parse("spiffe://a.test/planner"),))


@dataclass
class Watching(Unobserved):
    """What was told."""

    handshakes: list[tuple[Side, Reason | None]] = field(default_factory=list)
    cuts: list[tuple[Side, Reason]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def handshake(self, side: Side, refused: Refused | None) -> None:
        self.handshakes.append((side, refused.reason if refused else None))
        self.told.set()

    def cut(self, side: Side, refused: Refused) -> None:
        self.cuts.append((side, refused.reason))
        self.told.set()

    async def until(self, seen: int) -> None:
        while len(self.handshakes) + len(self.cuts) < seen:
            self.told.clear()
            await self.told.wait()


@dataclass
class Ingress:
    address: Address
    feed: IdentityFeed
    watching: Watching
    live: LiveConnections


@asynccontextmanager
async def ingress(folder: Path) -> AsyncIterator[Ingress]:
    """An ingress before nothing at all: what is watched here ends before a request does."""
    feed, watching, snapshots = IdentityFeed(), Watching(), Snapshots(now)
    feed.publish(IdentityState(SERVER, BUNDLES))
    live = LiveConnections(snapshots, clock=now, observer=watching, jitter=lambda: 0.0)
    site = Site("", (), ADMITTED, cast("PolicyEngine", None), "", timedelta(seconds=1))
    async with AsyncExitStack() as stack:
        log = stack.enter_context(AuditLog.open(folder / "audit.jsonl", fsync=Fsync.NEVER))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits())
        stack.callback(http.close)
        running = [tasks.create_task(snapshots.follow(feed.states())), tasks.create_task(live.run())]
        await snapshots.first()
        around = Surroundings(snapshots, log, frozenset(), now, http, live, observer=watching)
        listener = IngressListener(around, site)
        address = await stack.enter_async_context(listening(Address("127.0.0.1", 0), listener.accept))
        assert isinstance(address, Address)
        yield Ingress(address, feed, watching, live)
        for task in running:
            task.cancel()


def client(at: Ingress, path: str = "/planner") -> Client:
    return Client(at.address, CA.issue(path), BUNDLES, SERVER.spiffe_id)


async def test_a_handshake_at_an_ingress_by_its_end(folder: Path) -> None:
    async with ingress(folder) as there:
        async with client(there).connected():
            await there.watching.until(1)
        assert there.watching.handshakes == [(Side.INGRESS, None)]
        async with client(there, "/stranger").connected():
            await there.watching.until(2)
        assert there.watching.handshakes[1:] == [(Side.INGRESS, Reason.ID_NOT_AUTHORIZED)]
        assert there.watching.cuts == []


async def test_a_cut_at_an_ingress_by_its_reason(folder: Path) -> None:
    async with ingress(folder) as there, client(there).connected():
        await there.watching.until(1)
        there.feed.publish(None)
        await there.watching.until(2)
        assert there.watching.cuts == [(Side.INGRESS, Reason.IDENTITY_UNAVAILABLE)]
        assert len(there.live) == 0


PEERS = {
    "who is admitted": ("/planner", None),
    "whom the server turns away": ("/stranger", Reason.TLS_REJECTED),
}


@pytest.mark.parametrize(("path", "end"), PEERS.values(), ids=PEERS)
async def test_a_handshake_of_an_egress_by_what_the_server_made_of_it(
    folder: Path, path: str, end: Reason | None
) -> None:
    """In TLS 1.3 it is complete before the server has looked: what counts is what the server says first."""
    async with ingress(folder) as there:
        own = IdentityFeed()
        own.publish(IdentityState(CA.issue(path), BUNDLES))
        watching, snapshots = Watching(), Snapshots(now)
        live = LiveConnections(snapshots, clock=now, observer=watching, jitter=lambda: 0.0)
        hops = Hops(live, watching)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(snapshots.follow(own.states()))
            destination = Destination((there.address,), AllowedIds.only(SERVER.spiffe_id))
            async with await hops.lease(destination, await snapshots.first()) as hop:
                assert (len(live), watching.handshakes) == (1, [])
                connection = hop._connection
                exchange = tasks.create_task(outcome(connection.exchange(call("echo"))))
                await watching.until(1)
            assert watching.handshakes == [(Side.EGRESS, end)]
            assert (await exchange) is end
            hops.close()
            connection.abort()
            following.cancel()


async def outcome(exchange: Awaitable[object]) -> Reason | None:
    """What a request came to: an answer, of whatever kind, or a refusal."""
    try:
        await exchange
    except Refused as refused:
        return refused.reason
    return None
