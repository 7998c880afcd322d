"""A forced rotation of SPIRE's authority, under traffic: prepare, activate, taint, revoke."""

from pathlib import Path

from spiffe_mcp.errors import Reason
from tests.fakes.drill import authorities, held_open, mesh_on, refusal_of, signed_by, traffic, watching
from tests.fakes.mesh import PLANNER, SERVER
from tests.fakes.spire_lab import SpireLab


async def test_no_call_fails_while_spire_moves_to_another_authority_and_the_former_is_worth_nothing(
    folder: Path,
) -> None:
    async with SpireLab.running(folder / "s", "mesh.test") as spire:
        await spire.register(PLANNER.path)
        await spire.register(SERVER.path)
        address = spire.address
        async with (
            mesh_on(folder, address, address) as mesh,
            watching(address, PLANNER) as planner,
            watching(address, SERVER) as server,
            traffic(mesh.client) as calls,
        ):
            former = planner.state.svid
            (old,) = authorities(planner.state)
            old_id = (await spire.authorities())["active"]["authority_id"]

            prepared = await spire.prepare_authority()
            for each in (planner, server):
                await each.until(lambda state: len(authorities(state)) == 2)
            await calls.more(20)

            await spire.authority("activate", prepared)
            await spire.authority("taint", old_id)  # makes agents renew what it signed
            for each in (planner, server):
                await each.until(lambda state: not signed_by(state, old))
            await mesh.show(planner.state.svid, server.state.svid)
            await calls.more(20)
            assert calls.failed == []

            async with held_open(mesh.ingress, former) as connection:  # still trusted
                await spire.authority("revoke", old_id)
                for each in (planner, server):
                    await each.until(lambda state: old not in authorities(state))
                await connection.cut()
            assert await refusal_of(mesh, former) == Reason.CHAIN_UNTRUSTED
            await calls.more(20)
            calls.none_but_cut()
