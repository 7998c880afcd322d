"""In Kubernetes: which pod a caller is in say its control groups, and the broker is asked for that pod.

The broker is a fake that behaves as SPIRE's did in a real cluster; control groups are written by the test, in
the forms that kubelets use. Callers are processes of their own.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import grpc
import pytest

from spiffe_mcp.agent.identities import OnEvent, WorkloadIdentities
from spiffe_mcp.agent.registries import Registries
from spiffe_mcp.errors import Reason
from spiffe_mcp.http import HttpServer, Limits, Request
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, SpiffeId
from spiffe_mcp.identity.sources.broker import BrokerSource
from spiffe_mcp.identity.sources.reference import KubernetesReference, Reference
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import SvidPart, Update
from spiffe_mcp.identity.wanted import Wanted
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.attested_listener import AttestedListener
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.routes import EgressRoute, ServerName
from spiffe_mcp.mesh.workload import MadeWith, WorkloadTimes
from spiffe_mcp.mesh.workloads import WorkloadLimits, Workloads
from spiffe_mcp.tls import TlsIdentity
from spiffe_mcp.tls.broker_link import RelayedBrokerLink
from spiffe_mcp.workload.attestation import Pods
from tests.exchange.playbook import ALICE, Memorised
from tests.fakes.broker import FakeBroker
from tests.fakes.identity_source import FakeSource
from tests.fakes.local_client import LocalClient, local_client
from tests.fakes.mcp_client import call
from tests.fakes.mcp_server import RecordingServer, serving_mcp
from tests.fakes.mesh import LIVE
from tests.fakes.mini_ca import MiniCa

UIDS: Final = ("2c48913c-b29f-11e7-9350-020968147796", "72f7f152-440c-46ac-9084-e0fc1d8a910c")
A, B = (KubernetesReference(uid=uid) for uid in UIDS)
CONTAINER: Final = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961"
SLICE: Final = f"kubepods-burstable-pod{UIDS[1].replace('-', '_')}.slice"
IN_A: Final = f"8:memory:/kubepods/burstable/pod{UIDS[0]}/{CONTAINER}\n1:name=systemd:/\n"
IN_B: Final = f"0::/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{CONTAINER}.scope\n"
IN_B_AND_AS_A: Final = f"{IN_B.rstrip()}/pod{UIDS[0]}/x\n"
REFRESH: Final = timedelta(seconds=1)
PATIENCE: Final = 30.0  # seconds for one event; only a failure takes so long


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  a test is a composition root


@dataclass
class Node:
    """The egress of a node, its broker, and a server for each of two pods, which admits no other."""

    ca: MiniCa
    broker: FakeBroker
    log: Memorised
    egress: Path
    servers: dict[str, RecordingServer]

    def give(self, pod: KubernetesReference, path: str) -> None:
        """The pod has this identity from now on."""
        chain, key = self.ca.issue_der(path)
        bundle = b"".join(self.ca.bundle_der)
        part = SvidPart(f"spiffe://{self.ca.trust_domain}{path}", b"".join(chain), key, bundle, "")
        self.broker.offer(pod, Update((part,), {}))


def state(ca: MiniCa, path: str) -> IdentityState:
    return IdentityState(ca.issue(path), BundleSet.from_der({str(ca.trust_domain): ca.bundle_der}))


@asynccontextmanager
async def server_for(ca: MiniCa, name: str) -> AsyncIterator[RecordingServer]:
    """A server on a hop that admits the pod of its name, and nobody else."""
    tls = TlsIdentity(state(ca, f"/mcp/{name}"), now)
    allowed = AllowedIds.only(SpiffeId.parse(f"spiffe://{ca.trust_domain}/pod/{name}"))
    async with serving_mcp(LIVE, secured=lambda: tls.accept(allowed)) as server:
        yield server


def route(ca: MiniCa, name: str, server: RecordingServer) -> EgressRoute:
    pattern = IdPattern.parse(f"spiffe://{ca.trust_domain}/mcp/{name}")
    return EgressRoute(ServerName(name), pattern, (Address("127.0.0.1", server.port),))


@asynccontextmanager
async def node(folder: Path, proc: Path) -> AsyncIterator[Node]:
    ca, log = MiniCa("a.test", now=now()), Memorised()
    own = FakeSource()
    own.feed.publish(state(ca, "/mesh-agent"))
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(FakeBroker(folder / "broker.sock", ca))
        servers = {name: await stack.enter_async_context(server_for(ca, name)) for name in "ab"}
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits())
        stack.callback(http.close)
        spire = AllowedIds((IdPattern.parse("spiffe://a.test/spire/agent/**"),))
        link = RelayedBrokerLink(broker.address, own, server=spire, clock=now)
        linked = tasks.create_task(link.run())
        stack.callback(linked.cancel)

        def ask(reference: Reference, wanted: Wanted, on_event: OnEvent) -> IdentitySource:
            return BrokerSource(link, reference, wanted=wanted, clock=now, on_event=on_event, refresh=REFRESH)

        identities = WorkloadIdentities(ask, Pods(proc), lambda *_: None)
        registries = Registries(now, Unobserved(), timedelta(hours=1))
        nobody = Snapshots(now)
        around = Surroundings(nobody, log, frozenset(), now, http, registries.of(nobody))
        made_with = MadeWith(now, Unobserved(), registries.of)
        limits = WorkloadLimits(times=WorkloadTimes(first_identity=3))
        workloads = Workloads(tasks, identities.of_caller, made_with, limits)
        stack.callback(workloads.close)
        routes = tuple(route(ca, name, server) for name, server in servers.items())
        listener = AttestedListener(EgressListener(around, routes, ALICE), workloads, identities.attest, 100)
        egress = folder / "egress.sock"
        await stack.enter_async_context(listening(egress, listener.accept))
        yield Node(ca, broker, log, egress, servers)


@dataclass
class Callers:
    """Processes, started before there is gRPC in this one, which does not stand a fork well."""

    clients: list[LocalClient]
    proc: Path

    def put(self, *cgroups: str) -> None:
        """Each process is in these control groups."""
        for client, text in zip(self.clients, cgroups, strict=True):
            (self.proc / str(client.pid)).mkdir()
            (self.proc / str(client.pid) / "cgroup").write_text(text)


@asynccontextmanager
async def callers(folder: Path, *cgroups: str) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as stack:
        egress = folder / "egress.sock"
        clients = [await stack.enter_async_context(local_client(egress, os.getuid())) for _ in cgroups]
        there = Callers(clients, folder / "proc")
        there.proc.mkdir()
        there.put(*cgroups)
        yield there


def to(name: str, text: str = "hi") -> Request:
    request = call("echo", text=text)
    return replace(request, target=f"/{name}/mcp".encode())


async def test_each_pod_calls_by_its_own_identity_and_its_processes_share_it(folder: Path) -> None:
    async with callers(folder, IN_A, IN_B, IN_A) as there, node(folder, there.proc) as on:
        one, other, sibling = there.clients
        on.give(A, "/pod/a")
        on.give(B, "/pod/b")
        for _ in range(5):
            async with asyncio.TaskGroup() as tasks:
                own = [
                    tasks.create_task(one.ask(to("a"))),
                    tasks.create_task(other.ask(to("b"))),
                    tasks.create_task(sibling.ask(to("a"))),
                ]
            assert [call.result().status for call in own] == [200, 200, 200]
            crossed = [await one.ask(to("b")), await other.ask(to("a"))]
            assert [answer.status for answer in crossed] == [403, 403], (
                "a server that admits the other pod alone"
            )
        sent = [record.caller for record in on.log.records if record.caller.caller]
        assert {(caller.pod, caller.caller) for caller in sent} == {
            (UIDS[0], "spiffe://a.test/pod/a"),
            (UIDS[1], "spiffe://a.test/pod/b"),
        }
        assert set(on.broker.callers) == {"spiffe://a.test/mesh-agent"}


async def test_no_identity_yet_is_waited_for_and_comes_on_the_same_stream(folder: Path) -> None:
    async with callers(folder, IN_A) as there, node(folder, there.proc) as on:
        [client] = there.clients
        asking = asyncio.get_running_loop().create_task(client.ask(to("a")))
        await on.broker.of(A).until_opened(1)
        on.give(A, "/pod/a")
        assert (await asking).status == 200


async def test_a_pod_that_never_has_one_is_refused(folder: Path) -> None:
    async with callers(folder, IN_A) as there, node(folder, there.proc) as on:
        answer = await there.clients[0].ask(to("a"))
        assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        assert on.log.records[-1].caller.pod == UIDS[0]
        assert on.servers["a"].requests == []


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_pod_that_is_deleted_and_a_right_that_is_taken_back_cut_the_pod_and_no_other(
    folder: Path, code: grpc.StatusCode
) -> None:
    """Its stream goes on, as SPIRE's do; only a fresh subscription is refused."""
    async with callers(folder, IN_A, IN_B) as there, node(folder, there.proc) as on:
        one, other = there.clients
        on.give(A, "/pod/a")
        on.give(B, "/pod/b")
        assert (await one.ask(to("a"))).status == 200
        assert (await other.ask(to("b"))).status == 200
        on.broker.of(A).turn_away(code)
        async with asyncio.timeout(10):  # the bound that is asked for
            await one.cut()
        answer = await one.ask(to("a"))
        assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        assert (await other.ask(to("b"))).status == 200
        on.broker.of(A).admit()
        async with asyncio.timeout(PATIENCE):
            while (await one.ask(to("a"))).status != 200:
                pass


@pytest.mark.parametrize(
    ("cgroups", "reason"),
    [
        ("0::/user.slice/user-1000.slice/session-1.scope\n", Reason.WORKLOAD_NO_POD),
        (IN_B_AND_AS_A, Reason.WORKLOAD_SEVERAL_PODS),
        (f"0::/kubepods/pod{UIDS[0].replace('-', '')}/x/pod{UIDS[0]}/y\n", Reason.WORKLOAD_CGROUP),
    ],
)
async def test_who_is_in_no_certain_pod_gets_the_identity_of_none(
    folder: Path, cgroups: str, reason: Reason
) -> None:
    async with callers(folder, cgroups) as there, node(folder, there.proc) as on:
        on.give(A, "/pod/a")
        on.give(B, "/pod/b")
        answer = await there.clients[0].ask(to("a"))
        assert (answer.status, answer.reason) == (403, reason.code)
        assert (on.broker.of(A).opened, on.broker.of(B).opened) == (0, 0)
        assert on.servers["a"].requests == []
