"""Whose news it is decides what it does: the agent's own make it unready, a workload's are counted."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditLog, Fsync
from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Reconnected
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.identity import Snapshots
from tests.unit.agent.observed import SetClock, sample, state

DENIED = Denied(Reason.WORKLOAD_API_DENIED, "no entry")
WITHDRAWN = {"reason": "identity.workload_api_denied"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as opened:
        yield opened


async def _once(held: IdentityState | None) -> AsyncIterator[IdentityState | None]:
    yield held


async def test_a_denied_workload_is_counted_and_the_agent_stays_ready(log: AuditLog) -> None:
    clock = SetClock()
    snapshots = Snapshots(clock)
    telemetry = Telemetry(snapshots, log, clock)
    await snapshots.follow(_once(state()))
    telemetry.heard_of("pid 7", DENIED)
    assert telemetry.readiness.reasons() == ()
    assert sample(telemetry.observer, "spiffe_mcp_identity_withdrawals_total", **WITHDRAWN) == 1


async def test_a_denied_agent_is_counted_once_and_says_why_it_is_not_ready(log: AuditLog) -> None:
    clock = SetClock()
    snapshots = Snapshots(clock)
    telemetry = Telemetry(snapshots, log, clock)
    await snapshots.follow(_once(state()))
    telemetry.heard(DENIED)
    await snapshots.follow(_once(None))
    (reason,) = telemetry.readiness.reasons()
    assert (reason.reason, reason.detail) == (Reason.WORKLOAD_API_DENIED, "no entry")
    assert sample(telemetry.observer, "spiffe_mcp_identity_withdrawals_total", **WITHDRAWN) == 1


async def test_the_trouble_of_a_moment_ago_is_no_reason_while_there_is_a_valid_svid(log: AuditLog) -> None:
    clock = SetClock()
    snapshots = Snapshots(clock)
    telemetry = Telemetry(snapshots, log, clock)
    telemetry.heard(DENIED)
    await snapshots.follow(_once(state()))
    assert telemetry.readiness.reasons() == ()


async def test_a_source_that_answers_again_is_no_reason_by_itself(log: AuditLog) -> None:
    clock = SetClock()
    telemetry = Telemetry(Snapshots(clock), log, clock)
    telemetry.heard(Disconnected("UNAVAILABLE", "gone"))
    assert [refused.reason for refused in telemetry.readiness.reasons()] == [Reason.SOURCE_UNREACHABLE]
    telemetry.heard(Reconnected("UNAVAILABLE"))
    assert [refused.reason for refused in telemetry.readiness.reasons()] == [Reason.IDENTITY_UNAVAILABLE]
    assert sample(telemetry.observer, "spiffe_mcp_identity_source_reconnects_total") == 1
