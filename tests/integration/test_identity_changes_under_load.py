"""SVIDs rotate, authorities are revoked, the provider goes, comes back, or is late: calls go on or say no."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from spiffe_mcp.agent import agent
from spiffe_mcp.agent.agent import Ready
from spiffe_mcp.agent.config import load
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mcp_client import Hop, Plain, call, now
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import (
    LIVE,
    PLANNER,
    SERVER,
    Log,
    Site,
    provider_at,
    recording_ingress,
    running_agent,
    running_mesh,
)

CALLS = 500
ROTATIONS = 20
WORKERS = 8


async def test_no_call_fails_while_svids_rotate_twenty_times(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        numbers = iter(range(1, CALLS + 1))
        peers_before = mesh.svid(PLANNER)

        async def work() -> None:
            for number in numbers:
                if number % (CALLS // ROTATIONS) == 0:
                    mesh.provider.rotate()
                answer = await mesh.planner.ask(call("echo", message_id=number, text=str(number)))
                assert (answer.status, answer.text) == (200, str(number))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(work())
        assert mesh.svid(PLANNER) != peers_before
        records = mesh.log("ingress").records()
        assert [record["outcome"] for record in records] == ["completed"] * (CALLS + 1)
        assert len({record["peer_address"] for record in records}) > WORKERS, "new SVIDs made new hops"
        assert mesh.log("ingress").report().intact


async def test_hops_of_a_former_svid_are_ended(folder: Path) -> None:
    """A pool that nobody will use again must not keep its connections."""
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, recording_ingress(mesh) as ingress:
        address = f"127.0.0.1:{ingress.port}"
        config = mesh.site.egress_config(mesh.provider.address, address, log="elsewhere")
        async with running_agent(config) as egress:
            client = Plain(tcp(egress.egress))
            assert (await client.ask(call("echo", text="old"))).text == "old"
            mesh.provider.rotate()
            while ingress.accepted < 2:
                assert (await client.ask(call("echo", text="new"))).text == "new"
            while ingress.open > 1:  # noqa: ASYNC110  a connection's end has no event for tests
                await asyncio.sleep(0)
            client.close()


async def test_a_revoked_authority_lets_nobody_in_and_calls_go_on_under_the_new_one(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        former = mesh.svid(PLANNER)
        mesh.provider.rotate_authority()
        mesh.provider.revoke_former_authorities()
        await until_turned_away(mesh.hop(svid=former))
        assert mesh.log("ingress").last()["reason"] == Reason.CHAIN_UNTRUSTED.code
        # The egress learns of it in its own time; until then it is as much a stranger as anybody.
        assert await statuses_until_ok(mesh.planner) <= {200, 403, 503}
        hop = mesh.hop(PLANNER)
        assert (await hop.ask(hop.signed(call("echo", text="the new one")))).text == "the new one"


async def test_calls_go_on_while_the_provider_is_away_and_under_the_one_that_comes_back(folder: Path) -> None:
    """What was issued stays good until it expires. The provider that comes back is a new authority."""
    site = site_in(folder)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving_mcp(LIVE))
        async with provider_at(folder) as provider:
            config = site.ingress_config(provider.address, server.url)
            ingress = await stack.enter_async_context(running_agent(config))
            config = site.egress_config(provider.address, str(ingress.ingress))
            egress = await stack.enter_async_context(running_agent(config))
            client = Plain(tcp(egress.egress))
            stack.callback(client.close)
            assert (await client.ask(call("echo", text="before"))).text == "before"
        assert (await client.ask(call("echo", text="while away"))).text == "while away"
        async with provider_at(folder) as provider:
            svids = provider.issued.svids.items()
            svid = next(svid for entry, svid in svids if entry.spiffe_id == PLANNER)
            hop = Hop(tcp(ingress.ingress), svid, provider.issued.bundles, SERVER)
            await until_admitted(hop)
            assert await statuses_until_ok(client) <= {200, 403, 503}


async def test_an_agent_that_starts_before_its_provider_refuses_until_it_has_an_identity(
    folder: Path,
) -> None:
    site, listen = site_in(folder), folder / "egress.sock"
    provider = provider_at(folder)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving_mcp(LIVE))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        ingress: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        egress: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        config = load(site.ingress_config(provider.address, server.url))
        running = [tasks.create_task(agent.run(config, clock=now, on_ready=ingress.set_result))]
        async with provider:
            address = tcp((await ingress).ingress)
        config = load(site.egress_config(provider.address, str(address), listen=f"unix:{listen}"))
        running.append(tasks.create_task(agent.run(config, clock=now, on_ready=egress.set_result)))
        client = Plain(listen)
        stack.callback(client.close)
        while not listen.exists():  # noqa: ASYNC110  the agent says that it is ready only with an identity
            await asyncio.sleep(0)
        refused = await client.ask(call("echo", text="too early"))
        assert (refused.status, refused.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        assert not egress.done()
        assert server.requests == []
        async with provider_at(folder):
            assert (await egress).spiffe_id == PLANNER
            assert await statuses_until_ok(client) <= {200, 403, 503}
        for task in running:
            task.cancel()
    (first, *_) = Log(folder / "planner.jsonl").records()
    assert first["reason"] == Reason.IDENTITY_UNAVAILABLE.code


def site_in(folder: Path) -> Site:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    return site


def tcp(address: Address | Path | None) -> Address:
    assert isinstance(address, Address)
    return address


async def statuses_until_ok(client: Plain) -> set[int]:
    """Call until it goes through; what was answered on the way."""
    statuses: set[int] = set()
    while 200 not in statuses:
        statuses.add((await client.ask(call("echo", text="are you there?"))).status)
    return statuses


async def until_turned_away(hop: Hop) -> None:
    """Until the ingress shows a certificate of the new authority, and takes none of the former one."""
    while True:
        try:
            await hop.ask(hop.signed(call("echo", text="still me")))
        except Refused as refused:
            if refused.reason is Reason.TLS_REJECTED:
                return


async def until_admitted(hop: Hop) -> None:
    while True:
        with suppress(Refused):
            await hop.ask(hop.signed(call("echo", text="me again")))
            return
