"""In a sidecar, whoever connects calls as the agent's one workload."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from spiffe_mcp.audit import Caller
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.callers import SoleWorkload
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from tests.exchange.playbook import BUNDLES, NOW, PLANNER, Memorised
from tests.fakes.live import MADE_WITH

STATE = IdentityState(PLANNER, BUNDLES)


async def states() -> AsyncIterator[IdentityState | None]:
    yield STATE


@asynccontextmanager
async def sidecar(snapshots: Snapshots) -> AsyncIterator[SoleWorkload]:
    async with asyncio.TaskGroup() as tasks:
        http, live = HttpServer(tasks, Limits()), MADE_WITH.live(snapshots)
        sole = SoleWorkload(Surroundings(snapshots, Memorised(), frozenset(), lambda: NOW, http, live))
        yield sole
        sole.close()


async def test_the_sole_workload_has_the_agents_identity() -> None:
    snapshots = Snapshots(lambda: NOW)
    await snapshots.follow(states())
    async with sidecar(snapshots) as sole:
        assert (await sole.snapshot()).identity is STATE
        assert sole.described == Caller()


async def test_without_an_identity_it_is_refused_at_once() -> None:
    """The agent's own comes at its start or not at all; nobody waits for it with a request."""
    async with sidecar(Snapshots(lambda: NOW)) as sole:
        with pytest.raises(Refused) as refused:
            await sole.snapshot()
    assert refused.value.reason is Reason.IDENTITY_UNAVAILABLE
