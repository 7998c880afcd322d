"""The drills of `tests/spire` on the embedded provider: authorities change, providers die and come back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.events import Disconnected
from tests.fakes.drill import (
    WORKERS,
    Traffic,
    authorities,
    becomes_ready,
    held_open,
    long_answer,
    mesh_on,
    refusal_of,
    signed_by,
    traffic,
    watching,
)
from tests.fakes.mcp_client import now
from tests.fakes.mesh import PLANNER, SERVER, Clock, provider_at
from tests.fakes.mini_ca import HOUR, MiniCa
from tests.fakes.provider_process import killable
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

MINUTE: Final = timedelta(minutes=1)


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
        await mesh.show(planner.state.svid, server.state.svid)
        await calls.more(50)
        assert calls.failed == []

        async with held_open(mesh.ingress, former) as connection:
            provider.revoke_former_authorities()
            for each in (planner, server):
                await each.until(lambda state: old not in authorities(state))
            await connection.cut()
        assert await refusal_of(mesh, former) is Reason.CHAIN_UNTRUSTED
        await calls.more(50)
        calls.none_but_cut()


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


async def test_an_agent_waits_at_a_stale_socket_until_somebody_serves_it(folder: Path) -> None:
    async with killable(folder / "api.sock") as provider:
        provider.kill()
        assert provider.socket.is_socket()
        await becomes_ready(folder, provider.address, provider.start)


# -- a provider that says nothing ---------------------------------------------------------------------------


async def test_a_provider_that_hangs_is_missed_only_when_the_svids_expire_and_nothing_is_served_then(
    folder: Path,
) -> None:
    """It is there, it holds every stream open, and it renews nothing."""
    ca, clock = MiniCa("mesh.test", now()), Clock()

    def issued(lifetime: timedelta) -> bytes:
        return message([svid_part(ca, identity.path, lifetime) for identity in (SERVER, PLANNER)])

    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.push(issued(HOUR))
        async with (
            mesh_on(folder, api.address, api.address, ingress_clock=clock, egress_clock=clock) as mesh,
            traffic(mesh.client) as calls,
        ):
            clock.advance(HOUR - 5 * MINUTE)
            await calls.more(20)
            assert calls.failed == []
            clock.advance(6 * MINUTE)
            await calls.told(Reason.IDENTITY_UNAVAILABLE)
            with mesh.server.untouched():
                await calls.fails()
            api.push(issued(3 * HOUR))
            await calls.more(20)


# -- clocks that jump ---------------------------------------------------------------------------------------

# Who jumps, by how much, and what a caller is told meanwhile.
JUMPS: Final = {
    "both back": (("ingress", "egress"), -5, Reason.IDENTITY_UNAVAILABLE),
    "the ingress forward": (("ingress",), 5, Reason.CONTEXT_EXPIRED),
    "the ingress back": (("ingress",), -5, Reason.IDENTITY_UNAVAILABLE),
    "the egress forward": (("egress",), 5, Reason.CONTEXT_NOT_YET_VALID),
    "the egress back": (("egress",), -5, Reason.IDENTITY_UNAVAILABLE),
}


@dataclass(frozen=True)
class Jumping:
    """A mesh whose agents have a clock each, and the calls through it."""

    clocks: dict[str, Clock]
    calls: Traffic

    def jump(self, who: tuple[str, ...], minutes: int) -> None:
        for one in who:
            self.clocks[one].advance(minutes * MINUTE)


@pytest.fixture
async def jumping(folder: Path) -> AsyncIterator[Jumping]:
    clocks = {"ingress": Clock(), "egress": Clock()}
    async with (
        provider_at(folder) as provider,
        mesh_on(
            folder,
            provider.address,
            provider.address,
            ingress_clock=clocks["ingress"],
            egress_clock=clocks["egress"],
        ) as mesh,
        traffic(mesh.client) as calls,
    ):
        yield Jumping(clocks, calls)


@pytest.mark.parametrize(("who", "minutes", "reason"), JUMPS.values(), ids=JUMPS.keys())
async def test_a_clock_that_jumps_five_minutes_is_told_as_such_and_calls_go_on_when_it_is_right_again(
    jumping: Jumping, who: tuple[str, ...], minutes: int, reason: Reason
) -> None:
    """An SVID is good from ten seconds before it was issued; before that its own holder does not use it."""
    jumping.jump(who, minutes)
    await jumping.calls.told(reason)
    jumping.jump(who, -minutes)
    await jumping.calls.more(50)


async def test_clocks_that_jump_forward_together_disturb_no_call_and_set_back_let_nothing_in_twice(
    jumping: Jumping,
) -> None:
    """What was forgotten while they ran ahead could come again: until they are there again, nobody may."""
    both = ("ingress", "egress")
    jumping.jump(both, 5)
    await jumping.calls.more(50)
    # Those that were between the two agents at that moment.
    assert set(jumping.calls.failed) <= {(403, Reason.CONTEXT_EXPIRED.code)}
    assert len(jumping.calls.failed) <= WORKERS
    before = len(jumping.calls.failed)
    await jumping.calls.more(50)
    assert len(jumping.calls.failed) == before
    jumping.jump(both, -5)
    await jumping.calls.told(Reason.CONTEXT_REPLAYED)
    jumping.jump(both, 5)
    await jumping.calls.more(50)
