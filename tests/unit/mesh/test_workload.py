"""One workload: when it has an identity, what ends it, and that nothing of it is left then."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.workload import Workload, WorkloadTimes
from spiffe_mcp.workload.process import Process
from tests.exchange.playbook import BUNDLES, PLANNER, REVIEWER
from tests.fakes import processes
from tests.fakes.identity_source import FakeSource
from tests.fakes.live import MADE_WITH

STATE, NEXT = IdentityState(PLANNER, BUNDLES), IdentityState(REVIEWER, BUNDLES)
QUICK = WorkloadTimes(first_identity=0.01, idle=60, failed=60)
PATIENT = WorkloadTimes(first_identity=60, idle=60, failed=60)


@dataclass
class Running:
    """A workload that runs, its source, and what became of them."""

    workload: Workload
    source: FakeSource
    over: asyncio.Event
    why: list[Refused]
    cuts: list[int] = field(default_factory=list)

    def connect(self) -> Callable[[], None]:
        """A local connection, which counts how often it is cut."""

        def cut() -> None:
            self.cuts.append(1)

        self.workload.joined(cut)
        return cut

    async def refusal(self) -> Reason:
        with pytest.raises(Refused) as refused:
            await self.workload.snapshot()
        return refused.value.reason


@asynccontextmanager
async def running(times: WorkloadTimes = PATIENT, process: Process | None = None) -> AsyncIterator[Running]:
    source, over, why = FakeSource(), asyncio.Event(), list[Refused]()

    def on_over(refused: Refused) -> None:
        why.append(refused)
        over.set()

    async with asyncio.TaskGroup() as tasks:
        workload = Workload(source, process, made_with=MADE_WITH, times=times, on_over=on_over)
        workload.start(tasks)
        yield Running(workload, source, over, why)
        workload.end(Refused(Reason.IDENTITY_UNAVAILABLE, "the test is over"))


async def test_a_call_has_the_newest_identity_of_its_workload() -> None:
    async with running() as run:
        run.source.feed.publish(STATE)
        assert (await run.workload.snapshot()).identity is STATE
        run.source.feed.publish(NEXT)
        while (await run.workload.snapshot()).identity is not NEXT:  # noqa: ASYNC110  a snapshot has no event
            await asyncio.sleep(0)


async def test_a_call_waits_for_the_first_identity() -> None:
    """No identity yet is a state and no error: an entry may come while a call waits."""
    async with running() as run, asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(run.workload.snapshot()) for _ in range(3)]
        await asyncio.sleep(0)
        run.source.feed.publish(STATE)
        assert {(await call).identity.svid.spiffe_id for call in calls} == {PLANNER.spiffe_id}


async def test_a_call_does_not_wait_for_ever() -> None:
    async with running(QUICK) as run:
        assert await run.refusal() is Reason.IDENTITY_UNAVAILABLE
        run.source.feed.publish(STATE)  # later, on the same stream
        while True:
            try:
                assert (await run.workload.snapshot()).identity is STATE
            except Refused:
                continue
            break


async def test_a_withdrawn_identity_ends_the_workload_and_cuts_its_connections() -> None:
    async with running() as run:
        run.connect()
        run.source.feed.publish(STATE)
        await run.workload.snapshot()
        run.source.feed.publish(None)
        await run.over.wait()
        assert run.cuts == [1]
        assert await run.refusal() is Reason.IDENTITY_UNAVAILABLE
        await run.source.ended.wait()


async def test_the_end_of_the_process_ends_the_workload_and_cuts_its_connections() -> None:
    with processes.child() as child:
        async with running(process=Process.open(child.pid)) as run:
            run.connect(), run.connect()
            run.source.feed.publish(STATE)
            await run.workload.snapshot()
            processes.end(child)
            await run.over.wait()
            assert run.cuts == [1, 1]
            assert [refused.reason for refused in run.why] == [Reason.WORKLOAD_EXITED]
            assert await run.refusal() is Reason.WORKLOAD_EXITED


async def test_a_call_does_not_wait_for_the_news_that_the_process_has_ended() -> None:
    """Between the end and the event loop's word of it, the number may be another's already."""
    with processes.child() as child:
        async with running(process=Process.open(child.pid)) as run:
            run.source.feed.publish(STATE)
            await run.workload.snapshot()
            processes.end(child)
            assert await run.refusal() is Reason.WORKLOAD_EXITED
            assert run.why, "and it is over from then on"


async def test_an_identity_that_comes_for_a_number_that_has_passed_on_is_not_used() -> None:
    """The source asked by number, and what it got may be the next one's."""
    with processes.child() as child:
        async with running(QUICK, process=Process.open(child.pid)) as run:
            await run.source.running.wait()
            processes.end(child)
            run.source.feed.publish(STATE)
            assert await run.refusal() is Reason.WORKLOAD_EXITED


async def test_nothing_of_the_key_is_left() -> None:
    """As far as Python can tell: nothing refers to the TLS contexts or to the snapshot any more."""
    async with running() as run:
        run.source.feed.publish(STATE)
        tls = weakref.ref((await run.workload.snapshot()).tls)
        assert tls() is not None
        run.source.feed.publish(None)
        await run.over.wait()
        await asyncio.wait(run.workload._running)
        gc.collect()
        assert tls() is None


async def test_the_pidfd_is_closed_even_if_the_workload_never_began() -> None:
    with processes.child() as child:
        process = Process.open(child.pid)
        async with running(process=process) as run:
            run.workload.end(Refused(Reason.IDENTITY_UNAVAILABLE))
        assert process._pidfd is None


async def test_a_workload_that_nobody_uses_is_over() -> None:
    async with running(WorkloadTimes(idle=0.001)) as run:
        await run.over.wait()
        assert await run.refusal() is Reason.IDENTITY_UNAVAILABLE


async def test_a_connection_keeps_it_and_the_last_one_that_leaves_does_not() -> None:
    async with running(WorkloadTimes(idle=0.001)) as run:
        one, other = run.connect(), run.connect()
        run.workload.left(one)
        await asyncio.sleep(0.005)  # five times as long as it would last with nobody connected
        assert run.why == []
        run.workload.left(other)
        await run.over.wait()
        assert run.cuts == []


async def test_a_source_that_gives_up_ends_no_other_and_says_why_for_a_while() -> None:
    async with running() as run:
        run.connect()
        run.source.fail(Refused(Reason.BROKER_REJECTED, "no"))
        await run.source.ended.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert await run.refusal() is Reason.BROKER_REJECTED
        assert (run.why, run.cuts) == ([], []), "so that callers can be told"


async def test_after_a_while_a_source_that_gave_up_may_be_asked_anew() -> None:
    async with running(WorkloadTimes(failed=0.001)) as run:
        run.connect()
        run.source.fail(Refused(Reason.BROKER_REJECTED, "no"))
        await run.over.wait()
        assert run.cuts == [1]


async def test_a_fault_in_a_source_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with running() as run:
            run.source.fail(KeyError("a defect"))
            await run.source.ended.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            assert await run.refusal() is Reason.IDENTITY_UNAVAILABLE
    assert "the source of a workload's identity failed" in caplog.text


async def test_an_end_is_told_once() -> None:
    async with running() as run:
        run.connect()
        for _ in range(2):
            run.workload.end(Refused(Reason.IDENTITY_UNAVAILABLE))
        assert (len(run.why), run.cuts) == (1, [1])


async def test_a_source_that_has_given_up_on_a_living_process_says_why_until_the_process_ends() -> None:
    """The process is still looked at, though nobody follows its identity any more."""
    with processes.child() as alive:
        async with running(process=Process.open(alive.pid)) as run:
            run.connect()
            run.source.fail(Refused(Reason.BROKER_REJECTED, "no"))
            await asyncio.wait(run.workload._running[:1])
            assert await run.refusal() is Reason.BROKER_REJECTED
            assert run.workload.holds()
            processes.end(alive)
            assert not run.workload.holds()
            assert run.why[0].reason is Reason.WORKLOAD_EXITED
