"""The drills with go-spiffe at one end of the hop: authorities change and providers die under its traffic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from spiffe_mcp.errors import Reason
from spiffe_mcp.http.messages import encode_request
from spiffe_mcp.identity import X509Svid
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.drill import PATIENCE, Watcher, authorities, mesh_on, signed_by, watching
from tests.fakes.go_spiffe import GoSpiffe, Program
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mesh import PLANNER, SERVER, Site, provider_at, running_agent
from tests.fakes.provider_process import killable

CALLS = 20  # of go-spiffe between two steps of a drill, each with a handshake of its own


def fingerprint(svid: X509Svid) -> str:
    return sha256(svid.chain_der[0]).hexdigest()


# -- go-spiffe calls our ingress ----------------------------------------------------------------------------


@asynccontextmanager
async def go_traffic(
    go_spiffe: GoSpiffe, folder: Path, address: str, ingress: Address
) -> AsyncIterator[Program]:
    """A go-spiffe client that dials our ingress without a pause; it has no user context, and is told so."""
    request = folder / "request"
    request.write_bytes(encode_request(call("echo", text="from Go")))
    async with go_spiffe.role(
        "traffic",
        socket=address,
        id=str(PLANNER),
        address=str(ingress),
        peer=str(SERVER),
        request=str(request),
    ) as client:
        yield client


async def answered(client: Program, number: int) -> str:
    """So many more calls have been answered, and none has failed; with which SVID the last one came."""
    for _ in range(number):
        answer = await client.event("answer")
        assert answer["status"] == Reason.CONTEXT_MISSING.status
    return str(answer["leaf"])


async def until_with(client: Program, leaf: str) -> None:
    """The client has moved to this SVID, and no call failed on the way."""
    while await answered(client, 1) != leaf:
        pass


async def test_a_go_client_is_served_while_authorities_rotate_and_is_cut_off_with_the_former_one(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with (
        provider_at(folder) as provider,
        mesh_on(folder, provider.address, provider.address) as mesh,
        watching(provider.address, PLANNER) as planner,
        watching(provider.address, SERVER) as server,
        go_traffic(go_spiffe, folder, provider.address, mesh.ingress) as client,
    ):
        (old,) = authorities(planner.state)
        assert await answered(client, CALLS) == fingerprint(planner.state.svid)
        provider.rotate_authority()
        for each in (planner, server):
            await each.until(lambda state: len(authorities(state)) == 2)
        await answered(client, CALLS)
        provider.rotate()
        for each in (planner, server):
            await each.until(lambda state: not signed_by(state, old))
        await mesh.show(planner.state.svid, server.state.svid)
        await until_with(client, fingerprint(planner.state.svid))
        provider.revoke_former_authorities()
        # The connection that it has kept since its first call was made under the former authority.
        await client.next_of("ended")
        await moved(client, planner)
        assert {event["event"] for event in await client.rest()} == {"answer"}


async def moved(client: Program, planner: Watcher) -> None:
    """A call with the newest SVID has been answered, whatever came before."""
    async with asyncio.timeout(PATIENCE):
        while (await client.next_of("answer"))["leaf"] != fingerprint(planner.state.svid):
            pass


async def test_a_go_client_is_served_while_the_provider_is_killed_and_under_its_successor(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with (
        killable(folder / "api.sock") as provider,
        mesh_on(folder, provider.address, provider.address) as mesh,
        watching(provider.address, PLANNER) as planner,
        go_traffic(go_spiffe, folder, provider.address, mesh.ingress) as client,
    ):
        former = planner.state
        await answered(client, CALLS)
        provider.kill()
        await answered(client, CALLS)
        await provider.start()
        await planner.newer_than(former)
        # go-spiffe asks again in its own time; until then the two do not believe each other.
        await moved(client, planner)


# -- our egress calls go-spiffe -----------------------------------------------------------------------------


@asynccontextmanager
async def to_go(go_spiffe: GoSpiffe, folder: Path, address: str) -> AsyncIterator[tuple[Plain, Program]]:
    """A local client of `PLANNER`'s egress, whose one route leads to a go-spiffe server."""
    async with go_spiffe.role("serve", socket=address, id=str(SERVER), peer=str(PLANNER)) as server:
        listening = (await server.event("listening"))["address"]
        config = Site(folder).egress_config(address, listening, PLANNER, SERVER)
        async with running_agent(config) as egress:
            assert isinstance(egress.egress, Address)
            client = Plain(egress.egress)
            yield client, server
            client.close()


async def ask(client: Plain) -> tuple[int, str]:
    answer = await client.ask(call("echo", text="to Go"))
    return answer.status, "" if answer.status == 200 else answer.reason


async def test_no_call_to_a_go_server_fails_while_authorities_rotate(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with (
        provider_at(folder) as provider,
        watching(provider.address, PLANNER) as planner,
        watching(provider.address, SERVER) as server,
        to_go(go_spiffe, folder, provider.address) as (client, go_server),
    ):
        (old,) = authorities(planner.state)
        for _ in range(CALLS):
            assert await ask(client) == (200, "")
        provider.rotate_authority()
        for each in (planner, server):
            await each.until(lambda state: len(authorities(state)) == 2)
        for _ in range(CALLS):
            assert await ask(client) == (200, "")
        provider.rotate()
        for each in (planner, server):
            await each.until(lambda state: not signed_by(state, old))
        while (await go_server.next_of("svid"))["leaf"] != fingerprint(server.state.svid):
            pass
        for _ in range(CALLS):
            assert await ask(client) == (200, "")
        provider.revoke_former_authorities()
        for each in (planner, server):
            await each.until(lambda state: old not in authorities(state))
        await until_ok(client)
        for _ in range(CALLS):
            assert await ask(client) == (200, "")


async def test_calls_to_a_go_server_go_on_while_the_provider_is_killed_and_under_its_successor(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with (
        killable(folder / "api.sock") as provider,
        watching(provider.address, PLANNER) as planner,
        to_go(go_spiffe, folder, provider.address) as (client, _),
    ):
        former = planner.state
        assert await ask(client) == (200, "")
        provider.kill()
        for _ in range(CALLS):
            assert await ask(client) == (200, "")
        await provider.start()
        await planner.newer_than(former)
        await until_ok(client)
        for _ in range(CALLS):
            assert await ask(client) == (200, "")


async def until_ok(client: Plain) -> None:
    """Until both ends have moved to the new authority, each in its own time: they believe nobody before."""
    async with asyncio.timeout(PATIENCE):
        while (outcome := await ask(client)) != (200, ""):
            assert outcome[0] in {403, 503}
