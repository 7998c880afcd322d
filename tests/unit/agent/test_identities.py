"""What a source is asked for: a process, a pod, or a pod by its name; and which SVID of it."""

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spiffe_mcp.agent.identities import OnEvent, WorkloadIdentities, log_event
from spiffe_mcp.agent.identity_config import PidFile, PodNamed, PodWithUid
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.sources.reference import KubernetesReference, PidReference, Reference
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused
from spiffe_mcp.identity.wanted import ById, FirstOffered, Wanted
from spiffe_mcp.workload.attestation import Attested, Pods
from spiffe_mcp.workload.cgroup import PodUid
from spiffe_mcp.workload.process import Process
from tests.exchange.playbook import BUNDLES, PLANNER
from tests.fakes import processes
from tests.fakes.identity_source import FakeSource

SERVER = SpiffeId.parse("spiffe://a.test/mcp/desk")
UID = "2c48913c-b29f-11e7-9350-020968147796"


class Asked:
    """Remembers what it was asked for, and whom to tell."""

    def __init__(self, pods: Pods | None = None) -> None:
        self.asked: list[tuple[Reference, Wanted]] = []
        self.on_event: list[OnEvent] = []
        self.told: list[tuple[str, SourceEvent]] = []
        self.identities = WorkloadIdentities(self._ask, pods, lambda *told: self.told.append(told))

    def _ask(self, reference: Reference, wanted: Wanted, on_event: OnEvent) -> IdentitySource:
        self.asked.append((reference, wanted))
        self.on_event.append(on_event)
        return FakeSource()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """An MCP server's process, which has written `server.pid` and is in a pod."""
    with processes.child() as child:
        (tmp_path / "server.pid").write_text(str(child.pid))
        (tmp_path / "server.pid").chmod(0o600)
        (tmp_path / str(child.pid)).mkdir()
        (tmp_path / str(child.pid) / "cgroup").write_text(f"0::/kubepods/pod{UID}/container\n")
        yield child.pid


def test_a_caller_is_asked_for_by_its_process_or_by_its_pod() -> None:
    """Any of its SVIDs: which one is first, the registration says."""
    process = Process.open(os.getpid())
    for pod, reference in ((None, PidReference(os.getpid())), (PodUid(UID), KubernetesReference(uid=UID))):
        asked = Asked()
        asked.identities.of_caller(Attested(process, 0, 0, pod))
        assert asked.asked == [(reference, FirstOffered())]
    process.close()


async def test_a_server_by_its_pid_file_has_one_identity_and_ends_with_its_process(
    tmp_path: Path, server: int
) -> None:
    asked = Asked()
    found = asked.identities.of_server(PidFile(tmp_path / "server.pid"), SERVER)
    assert asked.asked == [(PidReference(server), ById(SERVER))]
    os.kill(server, 9)
    running = asyncio.get_running_loop().create_task(found.source.run())
    with pytest.raises(BaseExceptionGroup) as group:
        await running
    [refused] = group.value.exceptions
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.WORKLOAD_EXITED
    found.close()


def test_where_pods_are_asked_for_a_pid_file_leads_to_the_pod_of_its_process(
    tmp_path: Path, server: int
) -> None:
    asked = Asked(Pods(tmp_path))
    asked.identities.of_server(PidFile(tmp_path / "server.pid"), SERVER).close()
    assert asked.asked == [(KubernetesReference(uid=UID), ById(SERVER))]


def test_a_process_that_leads_nowhere_is_let_go_of(tmp_path: Path, server: int) -> None:
    asked = Asked(Pods(tmp_path / "nothing"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Refused) as refused:
        asked.identities.of_server(PidFile(tmp_path / "server.pid"), SERVER)
    assert refused.value.reason is Reason.WORKLOAD_EXITED
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert asked.asked == []


@pytest.mark.parametrize(
    ("workload", "reference"),
    [
        (PodWithUid(UID), KubernetesReference(uid=UID)),
        (PodNamed("tools", "desk-0"), KubernetesReference(namespace="tools", name="desk-0")),
    ],
)
def test_a_server_by_its_pod(workload: PodWithUid | PodNamed, reference: KubernetesReference) -> None:
    asked = Asked()
    asked.identities.of_server(workload, SERVER).close()
    assert asked.asked == [(reference, ById(SERVER))]


def test_what_a_source_says_is_told_with_whose_it_is() -> None:
    asked = Asked()
    asked.identities.of_server(PodWithUid(UID), SERVER)
    event = Disconnected("UNAVAILABLE", "gone")
    asked.on_event[0](event)
    assert asked.told == [(f"pods {UID}", event)]


def test_what_is_logged_says_whose_identity_and_no_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_event("pid 7", Updated(IdentityState(PLANNER, BUNDLES)))
        log_event("pid 7", Disconnected("UNAVAILABLE", "gone"))
        log_event("pid 7", Denied(Reason.SVID_NOT_ISSUED, "none"))
        log_event("pid 7", Denied(Reason.BROKER_NO_IDENTITY, ""))
        log_event("pid 7", Rejected(Reason.BROKER_REJECTED, "no"))
        log_event("pid 7", PartRefused("svid", Reason.SVID_KEY_MISMATCH, "another's"))
    assert f"identity of pid 7: {PLANNER.spiffe_id} until" in caplog.text
    assert "identity of pid 7: UNAVAILABLE: gone\n" in caplog.text
    assert "identity of pid 7: identity.svid_not_issued: none\n" in caplog.text
    assert "identity of pid 7: identity.broker_no_identity\n" in caplog.text
    assert "identity of pid 7: identity.broker_rejected: no\n" in caplog.text
    assert "identity of pid 7: svid: identity.svid_key_mismatch: another's\n" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_the_end_of_an_outage_is_logged_as_good_news(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_event("pid 7", Disconnected("UNAVAILABLE", "gone"))
        log_event("pid 7", Reconnected("UNAVAILABLE"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[1] == "identity of pid 7: its source answers again, after UNAVAILABLE"
