"""A source that was asked by number says nothing of whoever has the number next."""

import asyncio
import os

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.workload.living import LivingSource
from spiffe_mcp.workload.process import Owner, Process
from tests.exchange.playbook import BUNDLES, PLANNER
from tests.fakes.identity_source import FakeSource
from tests.fakes.processes import child, end, ended

STATE = IdentityState(PLANNER, BUNDLES)


def reason(group: BaseExceptionGroup[Refused]) -> Reason:
    [refused] = group.exceptions
    assert isinstance(refused, Refused)
    return refused.reason


async def test_the_states_of_a_living_process_pass() -> None:
    source = FakeSource()
    with child() as running:
        process = Process.open(running.pid)
        living = LivingSource(source, process)
        assert living.current is None
        source.feed.publish(STATE)
        assert living.current is STATE
        assert await living.wait_ready() is STATE
        assert await anext(living.states()) is STATE
        process.close()


async def test_a_state_that_comes_after_the_process_has_ended_does_not() -> None:
    """It may be that of another process, which has the number now."""
    source, process = FakeSource(), ended()
    living = LivingSource(source, process)
    source.feed.publish(STATE)
    assert living.current is None
    for asked in (living.wait_ready(), anext(living.states())):
        with pytest.raises(Refused) as refused:
            await asked
        assert refused.value.reason is Reason.WORKLOAD_EXITED
    process.close()


async def test_the_source_is_run_until_the_process_ends() -> None:
    source = FakeSource()
    with child() as running:
        process = Process.open(running.pid)
        task = asyncio.get_running_loop().create_task(LivingSource(source, process).run())
        await source.running.wait()
        assert not source.ended.is_set()
        end(running)
        with pytest.raises(BaseExceptionGroup) as group:
            await task
    assert source.ended.is_set()
    assert reason(group.value) is Reason.WORKLOAD_EXITED
    process.close()


async def test_what_ends_the_source_ends_it() -> None:
    source = FakeSource()
    source.fail(Refused(Reason.BROKER_REJECTED))
    with child() as running:
        process = Process.open(running.pid)
        with pytest.raises(BaseExceptionGroup) as group:
            await LivingSource(source, process).run()
        assert reason(group.value) is Reason.BROKER_REJECTED
        process.close()


async def test_a_state_that_comes_after_the_process_has_become_another_user_does_not() -> None:
    """By a set-user-ID program, say: the source was told of that user, the connection is of the first."""
    source = FakeSource()
    with child() as running:
        owner = Owner.of(running.pid)
        process = Process(running.pid, os.pidfd_open(running.pid), owner._replace(uid=owner.uid + 1))
        living = LivingSource(source, process)
        source.feed.publish(STATE)
        assert living.current is None
        for asked in (living.wait_ready(), anext(living.states())):
            with pytest.raises(Refused) as refused:
                await asked
            assert refused.value.reason is Reason.WORKLOAD_UNATTESTED
        process.close()
