"""Each connection finds its own workload: by the process or the pod that the kernel named, never another."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.workload import WorkloadTimes
from spiffe_mcp.mesh.workloads import WorkloadLimits, Workloads
from spiffe_mcp.workload.attestation import Attested
from spiffe_mcp.workload.cgroup import PodUid
from spiffe_mcp.workload.process import Process
from tests.exchange.playbook import BUNDLES, PLANNER, REVIEWER
from tests.fakes import processes
from tests.fakes.identity_source import FakeSource
from tests.fakes.live import MADE_WITH

PLANNERS, REVIEWERS = IdentityState(PLANNER, BUNDLES), IdentityState(REVIEWER, BUNDLES)
POD, OTHER_POD = (
    PodUid("2c48913c-b29f-11e7-9350-020968147796"),
    PodUid("72f7f152-440c-66ac-9084-e0fc1d8a910c"),
)


class Node:
    """Workloads, and every source that was made, in order."""

    def __init__(self, tasks: asyncio.TaskGroup, limit: int, idle: float, idle_hops: int) -> None:
        times = WorkloadTimes(first_identity=0.01, idle=idle)
        limits = WorkloadLimits(workloads=limit, idle=idle_hops, times=times)
        self.made: list[FakeSource] = []
        self.workloads = Workloads(tasks, self._source, MADE_WITH, limits)

    def _source(self, _: Attested) -> IdentitySource:
        self.made.append(FakeSource())
        return self.made[-1]


@asynccontextmanager
async def node(limit: int = 100, idle: float = 60, idle_hops: int = 8) -> AsyncIterator[Node]:
    async with asyncio.TaskGroup() as tasks:
        running = Node(tasks, limit, idle, idle_hops)
        yield running
        running.workloads.close()
        assert len(running.workloads) == 0


@pytest.fixture
def processes_of_test() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def caller(processes_of_test: ExitStack) -> "Callers":
    return Callers(processes_of_test)


class Callers:
    """Makes attested callers of processes that are alive until the test ends them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def new(self, uid: int = 1001, pod: PodUid | None = None) -> tuple[Attested, int]:
        """A caller of a new process, and the number of the process."""
        child = self._stack.enter_context(processes.child())
        return self.again(child.pid, uid, pod), child.pid

    def again(self, pid: int, uid: int = 1001, pod: PodUid | None = None) -> Attested:
        """Another connection of a process."""
        process = Process.open(pid)
        self._stack.callback(process.close)
        return Attested(process, uid, uid, pod)


def kill(pid: int) -> None:
    """As by somebody else: it is gone, and so is its number."""
    os.kill(pid, 9)
    os.waitpid(pid, 0)


async def test_connections_of_one_process_share_one_source(caller: Callers) -> None:
    """Also when they come at the same time, before the source has said anything."""
    first, pid = caller.new()
    async with node() as on:
        workloads = {
            on.workloads.of(attested) for attested in (first, *(caller.again(pid) for _ in range(9)))
        }
        assert len(workloads) == 1
        assert len(on.made) == 1


async def test_two_processes_never_share_an_identity(caller: Callers) -> None:
    """Not even two of the same user, whose entries may tell them apart by more than that."""
    (one, _), (other, _) = caller.new(), caller.new()
    async with node() as on:
        first, second = on.workloads.of(one), on.workloads.of(other)
        assert first is not second
        on.made[0].feed.publish(PLANNERS)
        on.made[1].feed.publish(REVIEWERS)
        assert (await first.snapshot()).identity is PLANNERS
        assert (await second.snapshot()).identity is REVIEWERS
        on.made[0].feed.publish(None)
        while len(on.workloads) > 1:  # noqa: ASYNC110  an end has no event here
            await asyncio.sleep(0)
        assert (await second.snapshot()).identity is REVIEWERS, "one's loss is not the other's"
        with pytest.raises(Refused):
            await first.snapshot()


@pytest.mark.parametrize("change", ["user", "group"])
def test_a_process_that_has_changed_its_user_is_attested_anew(caller: Callers, change: str) -> None:
    async def scenario() -> None:
        first, pid = caller.new()
        again = caller.again(pid)
        changed = Attested(
            again.process, 0 if change == "user" else 1001, 0 if change == "group" else 1001, None
        )
        async with node() as on:
            assert on.workloads.of(first) is not on.workloads.of(changed)
            assert len(on.made) == 2

    asyncio.run(scenario())


async def test_a_process_with_the_number_of_one_that_has_ended_gets_nothing_of_it(caller: Callers) -> None:
    """Before the event loop has even heard of the end of the first one."""
    first, number = caller.new()
    async with node() as on:
        old = on.workloads.of(first)
        on.made[0].feed.publish(PLANNERS)
        assert (await old.snapshot()).identity is PLANNERS
        kill(number)
        other, pid = caller.new()
        heir = Attested(Process(number, os.pidfd_open(pid)), 1001, 1001, None)
        new = on.workloads.of(heir)
        assert new is not old
        assert len(on.made) == 2
        with pytest.raises(Refused) as refused:
            await old.snapshot()
        assert refused.value.reason is Reason.WORKLOAD_EXITED
        with pytest.raises(Refused) as refused:
            await new.snapshot()
        assert refused.value.reason is Reason.IDENTITY_UNAVAILABLE, (
            "nothing of its own yet, and not the other's"
        )
        heir.process.close()
        other.process.close()


async def test_a_caller_that_ends_while_it_is_looked_up_joins_nobody(caller: Callers) -> None:
    first, number = caller.new()
    async with node() as on:
        on.workloads.of(first)
        heir = Attested(processes.ended(number), 1001, 1001, None)
        with pytest.raises(Refused) as refused:
            on.workloads.of(heir)
        assert refused.value.reason is Reason.WORKLOAD_EXITED
        heir.process.close()


async def test_processes_of_one_pod_share_its_identity_and_those_of_another_do_not(caller: Callers) -> None:
    (one, _), (two, _), (three, _) = caller.new(1, POD), caller.new(2, POD), caller.new(1, OTHER_POD)
    async with node() as on:
        assert on.workloads.of(one) is on.workloads.of(two)
        assert on.workloads.of(three) is not on.workloads.of(one)
        assert len(on.made) == 2


async def test_a_pod_goes_on_when_a_process_of_it_ends(caller: Callers) -> None:
    (one, pid), (two, _) = caller.new(1, POD), caller.new(1, POD)
    async with node() as on:
        workload = on.workloads.of(one)
        on.made[0].feed.publish(PLANNERS)
        kill(pid)
        assert on.workloads.of(two) is workload
        assert (await workload.snapshot()).identity is PLANNERS


async def test_a_workload_that_is_over_is_forgotten_and_a_new_one_begins(caller: Callers) -> None:
    first, pid = caller.new()
    async with node(idle=0.001) as on:
        on.workloads.of(first)
        while len(on.workloads):  # noqa: ASYNC110  an end has no event here
            await asyncio.sleep(0)
        on.workloads.of(caller.again(pid))
        assert len(on.made) == 2


async def test_no_user_takes_all_the_room(caller: Callers) -> None:
    async with node(limit=8) as on:
        for _ in range(4):
            on.workloads.of(caller.new(uid=1001)[0])
        with pytest.raises(Refused) as refused:
            on.workloads.of(caller.new(uid=1001)[0])
        assert refused.value.reason is Reason.WORKLOAD_TOO_MANY
        on.workloads.of(caller.new(uid=1002)[0])
        assert len(on.made) == 6, "of a source that was made and has no room nothing is run"
        assert not on.made[4].running.is_set()


async def test_the_room_of_a_workload_that_is_over_is_free_again(caller: Callers) -> None:
    async with node(limit=2) as on:
        first, number = caller.new()
        on.workloads.of(first)
        with pytest.raises(Refused):
            on.workloads.of(caller.new()[0])
        kill(number)
        while len(on.workloads):  # noqa: ASYNC110  an end has no event here
            await asyncio.sleep(0)
        on.workloads.of(caller.new()[0])


async def test_all_workloads_of_a_user_share_the_room_for_idle_hops(caller: Callers) -> None:
    """Each by itself keeps a few, but a user may have hundreds of processes."""
    async with node(idle_hops=8) as on:
        rooms = [on.workloads.of(caller.new(uid)[0])._hops._room for uid in (1001, 1001, 1002)]
        first, second, other = [room for room in rooms if room is not None]
        assert [first.take(), second.take(), first.take(), second.take(), first.take()] == [True] * 4 + [
            False
        ]
        assert other.take()
        second.give_back()
        assert first.take()
