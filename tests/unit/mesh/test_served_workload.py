"""An MCP server's identity is there while its process is, and is found again when a new process is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.served_workload import Found, ServedWorkload
from tests.exchange.playbook import BUNDLES, NOW, PLANNER
from tests.fakes.identity_source import FakeSource

STATE = IdentityState(PLANNER, BUNDLES)


class Finder:
    """Finds what the test puts there."""

    def __init__(self) -> None:
        self.there: FakeSource | None = None
        self.closed: list[FakeSource] = []
        self.looked = asyncio.Event()

    def __call__(self) -> Found:
        self.looked.set()
        self.looked = asyncio.Event()
        if (source := self.there) is None:
            raise Refused(Reason.WORKLOAD_PID_FILE, "not there")
        return Found(source, lambda: self.closed.append(source))


@asynccontextmanager
async def serving(find: Callable[[], Found]) -> AsyncIterator[ServedWorkload]:
    workload = ServedWorkload("a server", find, clock=lambda: NOW, pause=0.001)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(workload.run())
        yield workload
        running.cancel()


async def test_a_workload_that_is_not_there_yet_is_looked_for_and_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    find = Finder()
    with caplog.at_level(logging.WARNING):
        async with serving(find) as workload:
            for _ in range(5):
                await find.looked.wait()
            find.there = FakeSource()
            find.there.feed.publish(STATE)
            assert (await workload.snapshots.first()).identity is STATE
    assert len(caplog.records) == 1
    assert "not there" in caplog.text


async def test_an_identity_ends_with_its_process_and_the_next_one_is_looked_for() -> None:
    find = Finder()
    find.there = first = FakeSource()
    first.feed.publish(STATE)
    async with serving(find) as workload:
        await workload.snapshots.first()
        find.there = None
        first.fail(Refused(Reason.WORKLOAD_EXITED))
        await find.looked.wait()
        with pytest.raises(Refused):
            workload.snapshots.current(NOW)
        assert find.closed == [first]
        find.there = second = FakeSource()
        second.feed.publish(STATE)
        assert (await workload.snapshots.first()).identity is STATE
    assert find.closed == [first, second]


async def test_an_identity_that_is_withdrawn_may_come_back() -> None:
    find = Finder()
    find.there = source = FakeSource()
    source.feed.publish(STATE)
    async with serving(find) as workload:
        await workload.snapshots.first()
        source.feed.publish(None)
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(Refused):
            workload.snapshots.current(NOW)
        source.feed.publish(STATE)
        assert (await workload.snapshots.first()).identity is STATE


async def test_a_fault_of_ours_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It runs among the tasks of the whole agent."""
    source = FakeSource()
    source.feed.publish(STATE)

    def find() -> Found:
        if not caplog.records:
            raise RuntimeError("a fault")
        return Found(source, lambda: None)

    async with serving(find) as workload, asyncio.timeout(10):
        assert (await workload.snapshots.first()).identity is STATE
    assert "a fault" in caplog.text
