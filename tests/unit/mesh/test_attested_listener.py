"""A local connection is attested before it is heard, belongs to one workload, and ends with its process."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spiffe_mcp.audit import Caller, Kind, Outcome
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.attested_listener import AttestedListener, RefusedCaller
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Destination
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.workload import Workload, WorkloadTimes
from spiffe_mcp.mesh.workloads import WorkloadLimits, Workloads
from spiffe_mcp.peer_credentials import AcceptedSocket
from spiffe_mcp.strict_json import JsonObject
from spiffe_mcp.workload.attestation import Attested
from spiffe_mcp.workload.process import Process
from tests.exchange.playbook import ALICE, BUNDLES, EGRESS_ROUTE, NOW, PLANNER, Memorised, call
from tests.fakes import processes
from tests.fakes.identity_source import FakeSource
from tests.fakes.live import MADE_WITH
from tests.fakes.mcp_client import Plain

STATE = IdentityState(PLANNER, BUNDLES)
LIMITS = WorkloadLimits(workloads=4, times=WorkloadTimes(first_identity=0.01))


@dataclass
class Node:
    """An egress of a node. Whoever connects is who `attest` says."""

    path: Path
    log: Memorised
    workloads: Workloads
    sources: list[FakeSource]
    attest: Callable[[], Attested] = field(default=lambda: pytest.fail("nobody was to connect"))

    def only(self) -> Workload:
        """The one workload there is."""
        [workload] = self.workloads._workloads.values()
        return workload

    def last(self) -> JsonObject:
        return self.log.records[-1].document()


@asynccontextmanager
async def node(folder: Path, connections: int = 100) -> AsyncIterator[Node]:
    sources: list[FakeSource] = []

    def source(_: Attested) -> IdentitySource:
        sources.append(FakeSource())
        return sources[-1]

    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http, nobody, log = HttpServer(tasks, Limits()), Snapshots(lambda: NOW), Memorised()
        stack.callback(http.close)
        around = Surroundings(nobody, log, frozenset(), lambda: NOW, http, MADE_WITH.live(nobody))
        workloads = Workloads(tasks, source, MADE_WITH, LIMITS)
        stack.callback(workloads.close)
        running = Node(folder / "egress.sock", log, workloads, sources)

        def attest(_: AcceptedSocket) -> Attested:
            return running.attest()

        egress = EgressListener(around, (EGRESS_ROUTE,), ALICE)
        listener = AttestedListener(egress, workloads, attest, connections)
        await stack.enter_async_context(listening(running.path, listener.accept))
        yield running


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with processes.child() as child:
        yield child


def of(child: subprocess.Popen[bytes], uid: int = 1001) -> Callable[[], Attested]:
    return lambda: Attested(Process.open(child.pid), uid, 1002, None)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_workload_without_an_identity_is_refused_and_the_record_says_which_process(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    async with node(tmp_path) as on:
        on.attest = of(child)
        client = Plain(on.path)
        answer = await client.ask(call())
        assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        assert on.last()["process"] == f"pid {child.pid} uid 1001 gid 1002"
        assert on.last()["action"] == "tools/call"
        client.close()


@pytest.mark.parametrize(
    ("reason", "status"), [(Reason.WORKLOAD_PID_UNKNOWN, 403), (Reason.WORKLOAD_UNATTESTED, 503)]
)
async def test_whoever_cannot_be_attested_is_told_so_and_recorded(
    tmp_path: Path, reason: Reason, status: int
) -> None:
    def refuse() -> Attested:
        raise Refused(reason, "who are you?")

    async with node(tmp_path) as on:
        on.attest = refuse
        client = Plain(on.path)
        for _ in range(2):
            answer = await client.ask(call())
            assert (answer.status, answer.reason) == (status, reason.code)
            assert b"who are you" not in answer.body
        assert [record.outcome for record in on.log.records] == [Outcome.REFUSED] * 2
        assert on.last()["error"] == "who are you?"
        assert on.sources == [], "nobody asked for an identity of it"
        client.close()


async def test_a_workload_for_which_there_is_no_room_is_told_so(tmp_path: Path) -> None:
    async with node(tmp_path) as on, AsyncExitStack() as stack:
        clients = []
        for _ in range(3):
            on.attest = of(stack.enter_context(processes.child()))
            clients.append(Plain(on.path))
            answer = await clients[-1].ask(call())
        assert (answer.status, answer.reason) == (503, Reason.WORKLOAD_TOO_MANY.code)
        assert str(on.last()["process"]).startswith("pid ")
        for client in clients:
            client.close()


async def test_what_is_no_request_is_recorded_with_the_process(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    async with node(tmp_path) as on:
        on.attest = of(child)
        reader, writer = await asyncio.open_unix_connection(on.path)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert on.last()["process"] == f"pid {child.pid} uid 1001 gid 1002"
        writer.close()


async def test_the_end_of_the_process_cuts_its_connections(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    """Also those that another process holds by now."""
    before = descriptors()
    async with node(tmp_path) as on:
        on.attest = of(child)
        held = [await asyncio.open_unix_connection(on.path) for _ in range(2)]
        while not on.sources or len(on.only()._connections) < len(held):  # noqa: ASYNC110  accepted has no event
            await asyncio.sleep(0)
        processes.end(child)
        for reader, writer in held:
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        while len(on.workloads):  # noqa: ASYNC110  an end has no event here
            await asyncio.sleep(0)
        assert on.sources[0].ended.is_set()
    assert descriptors() == before


async def test_the_end_of_the_workload_cuts_its_connections(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    async with node(tmp_path) as on:
        on.attest = of(child)
        reader, writer = await asyncio.open_unix_connection(on.path)
        while not on.sources:  # noqa: ASYNC110  accepted has no event
            await asyncio.sleep(0)
        on.sources[0].feed.publish(STATE)
        await on.only().snapshot()
        on.sources[0].feed.publish(None)
        assert await reader.read() == b""
        writer.close()


async def test_no_user_takes_all_connections_and_the_refused_are_recorded(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    async with node(tmp_path, connections=4) as on:
        on.attest = of(child)
        held = [await asyncio.open_unix_connection(on.path) for _ in range(2)]
        reader, writer = await asyncio.open_unix_connection(on.path)
        assert await reader.read() == b""
        writer.close()
        record = on.log.records[-1]
        assert (record.kind, record.ruling.reason) == (Kind.AUTHENTICATION, Reason.WORKLOAD_CONNECTIONS.code)
        on.attest = of(child, uid=2002)
        client = Plain(on.path)
        assert (await client.ask(call())).status == 503
        for _, other in held:
            other.close()
        client.close()


async def test_a_fault_of_ours_ends_the_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kept, it would be a descriptor that anybody can take and nobody gives back."""

    def fault() -> Attested:
        raise RuntimeError("a fault")

    async with node(tmp_path) as on:
        on.attest = fault
        reader, writer = await asyncio.open_unix_connection(str(on.path))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
    assert "a fault ends a local connection" in caplog.text


async def test_a_connection_that_ends_makes_room(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    async with node(tmp_path, connections=2) as on:
        on.attest = of(child)
        for _ in range(5):
            client = Plain(on.path)
            assert (await client.ask(call())).status == 503
            client.close()
            while not on.only().is_idle:  # noqa: ASYNC110  lost has no event
                await asyncio.sleep(0)
        assert len(on.sources) == 1


async def test_a_refused_caller_leases_no_hop(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """It has no snapshot that it could lease one with; one of somebody else's would be a defect."""
    async with node(tmp_path) as on:
        on.attest = of(child)
        workload = on.workloads.of(on.attest())
        on.sources[0].feed.publish(STATE)
        caller = RefusedCaller(Caller(), Refused(Reason.WORKLOAD_EXITED))
        destination = Destination(EGRESS_ROUTE.addresses, AllowedIds(()))
        with pytest.raises(RuntimeError):
            await caller.lease(destination, await workload.snapshot())
