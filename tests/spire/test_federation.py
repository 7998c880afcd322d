"""Two SPIRE servers that follow each other's bundle endpoint on loopback: who reaches whom, and from when."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import SpiffeId
from tests.fakes.drill import authorities, held_open, mesh_on, refusal_of, traffic, watching
from tests.fakes.mesh import SERVER
from tests.fakes.spire_lab import SpireLab

PARTNER = SpiffeId.parse("spiffe://partner.test/ai-agent/planner")
OURS, THEIRS = "mesh.test", "partner.test"


@asynccontextmanager
async def federated(folder: Path) -> AsyncIterator[tuple[SpireLab, SpireLab]]:
    """Ours with `SERVER` and theirs with `PARTNER`, each with the bundle of the other."""
    async with (
        SpireLab.running(folder / "a", OURS) as ours,
        SpireLab.running(folder / "b", THEIRS) as theirs,
    ):
        await ours.trust(theirs)
        await theirs.trust(ours)
        await ours.register(SERVER.path, "-federatesWith", theirs.domain_id)
        await theirs.register(PARTNER.path, "-federatesWith", ours.domain_id)
        yield ours, theirs


async def test_a_federated_caller_reaches_us_exactly_as_long_as_the_bundles_say_so(folder: Path) -> None:
    async with (
        federated(folder) as (ours, theirs),
        mesh_on(folder, ours.address, theirs.address, caller=PARTNER) as mesh,
        watching(ours.address, SERVER) as server,
        watching(theirs.address, PARTNER) as partner,
        traffic(mesh.client) as calls,
    ):
        # Their authority rotates: we learn of the next one at their bundle endpoint before it signs.
        (old,) = authorities(server.state, THEIRS)
        old_id = (await theirs.authorities())["active"]["authority_id"]
        prepared = await theirs.prepare_authority()
        await ours.refresh(theirs)
        await server.until(lambda state: len(authorities(state, THEIRS)) == 2)
        before = partner.state
        await theirs.authority("activate", prepared)
        await theirs.authority("taint", old_id)
        await partner.newer_than(before)
        await mesh.show(partner.state.svid, server.state.svid)
        await calls.more(20)
        assert calls.failed == []
        await theirs.authority("revoke", old_id)
        await ours.refresh(theirs)
        await server.until(lambda state: old not in authorities(state, THEIRS))
        await calls.more(20)
        calls.none_but_cut()

        # We end it: their SVID is as good as ever, and worth nothing here.
        async with held_open(mesh.ingress, partner.state.svid) as connection:
            await ours.distrust(theirs)
            await server.until(lambda state: not authorities(state, THEIRS))
            await connection.cut()
        assert await refusal_of(mesh, partner.state.svid) in {
            Reason.BUNDLE_UNKNOWN,
            Reason.CHAIN_UNTRUSTED,
        }
        status, _ = await calls.fails()
        assert status == 403

        # And begin anew.
        await ours.trust(theirs)
        await ours.federate(SERVER.path, theirs)
        await server.until(lambda state: bool(authorities(state, THEIRS)))
        await calls.more(20)


async def test_a_caller_whose_own_domain_ends_the_federation_reaches_us_no_more(folder: Path) -> None:
    """The other direction: it is the egress that no longer believes the server."""
    async with (
        federated(folder) as (ours, theirs),
        mesh_on(folder, ours.address, theirs.address, caller=PARTNER) as mesh,
        watching(theirs.address, PARTNER) as partner,
        traffic(mesh.client) as calls,
    ):
        await theirs.distrust(ours)
        await partner.until(lambda state: not authorities(state, OURS))
        status, reason = await calls.fails()
        assert status == 403
        assert reason in {Reason.CHAIN_UNTRUSTED.code, Reason.BUNDLE_UNKNOWN.code}
        with mesh.server.untouched():
            await calls.fails()
        await theirs.trust(ours)
        await theirs.federate(PARTNER.path, ours)
        await partner.until(lambda state: bool(authorities(state, OURS)))
        await calls.more(20)


async def test_calls_go_on_while_both_servers_and_their_bundle_endpoints_are_down(folder: Path) -> None:
    async with (
        federated(folder) as (ours, theirs),
        mesh_on(folder, ours.address, theirs.address, caller=PARTNER) as mesh,
        traffic(mesh.client) as calls,
    ):
        ours.kill_server()
        theirs.kill_server()
        await calls.more(20)
        ours.kill_agent()
        theirs.kill_agent()
        await calls.more(20)
        await ours.start_server()
        await theirs.start_server()
        await ours.start_agent()
        await theirs.start_agent()
        await calls.more(20)
        assert calls.failed == []
