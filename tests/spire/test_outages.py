"""SPIRE's agent killed and restarted, its server away for long, a socket that nobody serves: calls go on."""

import asyncio
from datetime import timedelta
from pathlib import Path

from spiffe_mcp.identity.sources.events import Disconnected, Updated
from tests.fakes.drill import becomes_ready, long_answer, mesh_on, traffic, watching
from tests.fakes.mcp_client import now
from tests.fakes.mesh import PLANNER, SERVER
from tests.fakes.spire_lab import SpireLab


async def test_calls_go_on_while_the_agent_is_killed_and_a_new_svid_comes_with_its_return(
    folder: Path,
) -> None:
    async with SpireLab.running(folder / "s", "mesh.test") as spire:
        await spire.register(PLANNER.path)
        await spire.register(SERVER.path)
        async with (
            mesh_on(folder, spire.address, spire.address) as mesh,
            watching(spire.address, PLANNER) as planner,
            traffic(mesh.client) as calls,
        ):
            before = planner.state
            async with long_answer(mesh) as answer:
                await answer.piece()
                spire.kill_agent()
                assert spire.socket.is_socket(), "a killed agent leaves its socket file behind"
                await planner.reported(Disconnected)
                await calls.more(50)
                await answer.piece()
                await spire.start_agent()
                async with asyncio.timeout(2.0):  # a second, and what two busy cores take
                    await planner.newer_than(before)
                await calls.more(50)
                await answer.piece()
            assert calls.failed == []


async def test_an_agent_of_the_mesh_waits_at_a_stale_socket_until_somebody_serves_it(folder: Path) -> None:
    async with SpireLab.running(folder / "s", "mesh.test") as spire:
        await spire.register(PLANNER.path)
        async with watching(spire.address, PLANNER):
            pass  # it is there
        spire.kill_agent()
        await becomes_ready(folder, spire.address, spire.start_agent)


async def test_svids_are_renewed_after_the_server_was_away_for_more_than_half_their_life(
    folder: Path,
) -> None:
    """SPIRE renews at half life. What was issued stays good meanwhile, and no call has to know."""
    life = timedelta(seconds=60)
    async with SpireLab.running(folder / "s", "mesh.test", svid_ttl="60s") as spire:
        await spire.register(PLANNER.path)
        await spire.register(SERVER.path)
        async with (
            mesh_on(folder, spire.address, spire.address) as mesh,
            watching(spire.address, PLANNER) as planner,
            watching(spire.address, SERVER) as server,
            traffic(mesh.client, workers=1) as calls,
        ):
            fresh = planner.state
            spire.kill_server()
            away_since = now()
            # SPIRE renews the two at moments of its own: whichever ends first has to be renewed in time.
            overdue = min(fresh.svid.not_after, server.state.svid.not_after) - life * 0.3
            while now() < overdue:
                await calls.more(1)
            assert now() - away_since > life / 2
            assert planner.state == fresh, "nobody was there to renew it"
            await spire.start_server()
            renewed = await planner.newer_than(fresh)
            assert renewed.svid.not_after > fresh.svid.not_after
            assert isinstance(planner.events[-1], Updated)
            while now() < fresh.svid.not_after:
                await calls.more(1)
            await calls.more(20)
            assert calls.failed == []
