"""An identity is in force for as long as its source is followed, and no longer."""

import asyncio

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.following import follow
from spiffe_mcp.mesh.identity import Snapshots
from tests.exchange.playbook import BUNDLES, NOW, PLANNER
from tests.fakes.identity_source import FakeSource

STATE = IdentityState(PLANNER, BUNDLES)


def is_gone(snapshots: Snapshots) -> bool:
    with pytest.raises(Refused) as refused:
        snapshots.current(NOW)
    return refused.value.reason is Reason.IDENTITY_UNAVAILABLE


async def test_what_the_source_says_is_in_force_until_nobody_follows() -> None:
    source, snapshots = FakeSource(), Snapshots(lambda: NOW)
    source.feed.publish(STATE)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow(source, source.states(), snapshots))
        assert (await snapshots.first()).identity is STATE
        following.cancel()
    assert is_gone(snapshots)
    assert source.ended.is_set()


async def test_what_ends_the_source_is_said_alone_and_leaves_nothing_in_force() -> None:
    source, snapshots = FakeSource(), Snapshots(lambda: NOW)
    source.feed.publish(STATE)
    following = asyncio.get_running_loop().create_task(follow(source, source.states(), snapshots))
    await snapshots.first()
    source.fail(Refused(Reason.BROKER_REJECTED, "why"))
    with pytest.raises(Refused) as refused:
        await following
    assert refused.value.reason is Reason.BROKER_REJECTED
    assert is_gone(snapshots)


async def test_a_fault_is_no_refusal() -> None:
    source, snapshots = FakeSource(), Snapshots(lambda: NOW)
    source.fail(KeyError("a defect"))
    with pytest.raises(ExceptionGroup) as group:
        await follow(source, source.states(), snapshots)
    assert isinstance(group.value.exceptions[0], KeyError)
    assert is_gone(snapshots)
