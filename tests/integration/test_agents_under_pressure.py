"""Strangers say nothing, say garbage, half begin, or come in floods: who belongs here is served meanwhile."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Hop, Plain, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, SERVER, Log, Mesh, Site, provider_at, running_mesh
from tests.fakes.streaming import rest_of, until

PATIENCE = 10.0  # seconds: a generous bound for one call under attack
GARBAGE = (b"\x16\x03\x01\xff\xff" + b"\xa5" * 200, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 300, b"SSH-2.0-x\r\n")


def client_hello() -> bytes:
    """The first flight of a TLS client, which never goes on."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    session = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


class Strangers:
    """Connections to the ingress that lead nowhere."""

    def __init__(self, at: Address) -> None:
        self.at = at
        self.writers: list[asyncio.StreamWriter] = []

    async def come(self, count: int, saying: bytes = b"") -> None:
        for _ in range(count):
            _, writer = await asyncio.open_connection(self.at.host, self.at.port)
            writer.write(saying)
            self.writers.append(writer)

    def go(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def strangers(at: Address) -> AsyncIterator[Strangers]:
    them = Strangers(at)
    try:
        yield them
    finally:
        them.go()


async def serves(mesh: Mesh, times: int = 5) -> None:
    """A caller of the mesh is served, on the hop that it has and on new ones."""
    for _ in range(times):
        async with asyncio.timeout(PATIENCE):
            assert (await mesh.planner.ask(call("echo", text="as ever"))).text == "as ever"
            hop = mesh.hop(PLANNER)
            assert (await hop.ask(hop.signed(call("echo", text="newly come")))).text == "newly come"


async def test_forty_who_say_nothing_and_twenty_who_say_garbage(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, strangers(mesh.ingress) as them:
        await them.come(40)
        for garbage in GARBAGE:
            await them.come(5, garbage)
        await serves(mesh)
        records = mesh.log("ingress").records()
        refused = Counter(record["reason"] for record in records if record["kind"] == "authentication")
        assert refused.keys() == {Reason.TLS_HANDSHAKE.code}
        assert 1 <= refused[Reason.TLS_HANDSHAKE.code] <= 20  # a flood does not fill the log


async def test_three_hundred_handshakes_that_are_begun_and_not_finished(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, strangers(mesh.ingress) as them:
        hello = client_hello()
        for _ in range(3):
            await them.come(100, hello)
            await serves(mesh, times=1)
        await serves(mesh)
        reasons = {record.get("reason") for record in mesh.log("ingress").records()}
        assert Reason.TLS_BUSY.code in reasons  # the oldest gave way


async def test_a_flood_of_connections(folder: Path) -> None:
    """As fast as they can be opened, cut after a moment, for as long as the caller needs."""
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, asyncio.TaskGroup() as tasks:
        came = Counter[str]()

        async def flood() -> None:
            while True:
                reader, writer = await asyncio.open_connection(mesh.ingress.host, mesh.ingress.port)
                came["strangers"] += 1
                writer.transport.abort()
                del reader

        flooding = [tasks.create_task(flood()) for _ in range(8)]
        await until(lambda: came["strangers"] > 200)
        await serves(mesh)
        assert came["strangers"] > 200
        for task in flooding:
            task.cancel()


# -- descriptors ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def limited_mesh(folder: Path, descriptors: int) -> AsyncIterator[tuple[Hop, Plain]]:
    """Two agents that may open few files: a peer of the ingress, and a client of the egress."""
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        upstream = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, upstream.url)
        running = commands.running(
            "agent", "--config", config, log=folder / "ingress.err", descriptors=descriptors
        )
        ingress = (await (await stack.enter_async_context(running)).ready())["ingress"]
        config = site.egress_config(provider.address, ingress)
        running = commands.running(
            "agent", "--config", config, log=folder / "egress.err", descriptors=descriptors
        )
        egress = (await (await stack.enter_async_context(running)).ready())["egress"]
        client = Plain(Address.parse(egress))
        stack.callback(client.close)
        svid = next(svid for entry, svid in provider.issued.svids.items() if entry.spiffe_id == PLANNER)
        yield Hop(Address.parse(ingress), svid, provider.issued.bundles, SERVER), client


async def test_where_descriptors_are_few_callers_are_served_among_strangers_and_idle_peers(
    folder: Path,
) -> None:
    async with limited_mesh(folder, descriptors=320) as (hop, client), AsyncExitStack() as stack:
        assert (await client.ask(call("echo", text="before"))).text == "before"
        them = await stack.enter_async_context(strangers(hop.address))
        await them.come(400)
        for _ in range(150):  # more peers than the agent has room for, each idle after its request
            idle = await stack.enter_async_context(hop.connected())
            await idle.exchange(hop.signed(call("hidden")))
            await rest_of(idle)
        await them.come(100, client_hello())
        async with asyncio.timeout(PATIENCE):
            for _ in range(5):
                assert (await client.ask(call("echo", text="as ever"))).text == "as ever"
                assert (await hop.ask(hop.signed(call("echo", text="newly come")))).text == "newly come"
    assert "descriptors (ulimit -n)" in (folder / "ingress.err").read_text()
    assert "Too many open files" not in (folder / "ingress.err").read_text()
    outcomes = Counter(record["outcome"] for record in Log(folder / "ingress.jsonl").records())
    assert outcomes["error"] == 0


async def test_idle_local_connections_do_not_keep_the_workload_from_being_served(folder: Path) -> None:
    async with limited_mesh(folder, descriptors=320) as (_, client), AsyncExitStack() as stack:
        assert isinstance(client.address, Address)
        them = await stack.enter_async_context(strangers(client.address))
        await them.come(500)
        async with asyncio.timeout(PATIENCE):
            for _ in range(5):
                fresh = Plain(client.address)
                assert (await fresh.ask(call("echo", text="as ever"))).text == "as ever"
                fresh.close()
    assert "Too many open files" not in (folder / "egress.err").read_text()


async def test_with_too_few_descriptors_an_agent_does_not_start(folder: Path) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    config = site.ingress_config("unix:///nobody/there", "http://127.0.0.1:1/mcp")
    log = folder / "ingress.err"
    async with commands.running("agent", "--config", config, log=log, descriptors=128) as agent:
        with pytest.raises(AssertionError, match="ended with 1"):
            await agent.ready()
    assert Reason.DESCRIPTORS_TOO_FEW.code in (folder / "ingress.err").read_text()


async def test_a_peer_that_is_refused_learns_that_it_is_and_not_that_all_is_well(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        hop = mesh.hop(SERVER)  # of the trust domain, and not on the list
        async with hop.connected() as connection:  # in TLS 1.3 its own handshake is complete by now
            with pytest.raises(Refused) as refused:
                await connection.exchange(hop.signed(call("echo")))
        assert refused.value.reason is Reason.TLS_REJECTED
