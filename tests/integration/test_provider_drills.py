"""The drills of `tests/spire` on the embedded provider: authorities change, providers die and come back."""

import asyncio
from pathlib import Path

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.events import Disconnected
from tests.fakes.drill import (
    authorities,
    held_open,
    long_answer,
    mesh_on,
    refusal_of,
    signed_by,
    traffic,
    watching,
)
from tests.fakes.mesh import PLANNER, SERVER, provider_at
from tests.fakes.provider_process import killable


async def test_no_call_fails_while_the_authority_is_prepared_activated_and_the_former_revoked(
    folder: Path,
) -> None:
    async with (
        provider_at(folder) as provider,
        mesh_on(folder, provider.address, provider.address) as mesh,
        watching(provider.address, PLANNER) as planner,
        watching(provider.address, SERVER) as server,
        traffic(mesh.client) as calls,
    ):
        former = planner.state.svid
        (old,) = authorities(planner.state)
        provider.rotate_authority()
        for each in (planner, server):
            await each.until(lambda state: len(authorities(state)) == 2)
        await calls.more(50)

        provider.rotate()  # signs with the new one
        for each in (planner, server):
            await each.until(lambda state: not signed_by(state, old))
        await calls.more(50)

        async with held_open(mesh.ingress, former) as connection:
            provider.revoke_former_authorities()
            for each in (planner, server):
                await each.until(lambda state: old not in authorities(state))
            await connection.cut()
        assert await refusal_of(mesh, former) is Reason.CHAIN_UNTRUSTED
        await calls.more(50)
        assert calls.failed == []


async def test_calls_and_a_long_answer_go_on_while_the_provider_is_killed(folder: Path) -> None:
    """Its successor at the same socket is another authority: both agents move to it, each in its own time."""
    async with (
        killable(folder / "api.sock") as provider,
        mesh_on(folder, provider.address, provider.address) as mesh,
        watching(provider.address, PLANNER) as planner,
        traffic(mesh.client) as calls,
    ):
        before = planner.state
        async with long_answer(mesh) as answer:
            await answer.piece()
            provider.kill()
            assert provider.socket.is_socket(), "a killed provider leaves its socket behind"
            await calls.more(50)
            await planner.reported(Disconnected)
            await answer.piece()
        assert calls.failed == []
        await provider.start()
        async with asyncio.timeout(2.0):  # a second, and what two busy cores take
            await planner.newer_than(before)
        await calls.more(100)
        # Between the two: one agent shows what the other does not believe yet.
        assert {status for status, _ in calls.failed} <= {403, 503}
