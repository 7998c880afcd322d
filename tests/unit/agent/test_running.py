"""A reload takes effect only where it can be recorded, and its end is told to log, metrics and readiness."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.reload import Outcome
from spiffe_mcp.agent.running import Running
from spiffe_mcp.agent.sides import Sides
from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditLog, Fsync, read_records
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.identity import Snapshots
from tests.unit.agent.observed import SetClock, sample

CONFIG = cast("AgentConfig", object())  # of no interest here
BAD = Refused(Reason.POLICY_INVALID, "p.rego: line 1")


class FakeSides:
    """Whatever it is given is put in force when it is told to."""

    def __init__(self) -> None:
        self.in_force: list[AgentConfig] = []

    def prepared(self, anew: AgentConfig) -> Callable[[], None]:
        return lambda: self.in_force.append(anew)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as opened:
        yield opened


def running(log: AuditLog) -> tuple[Running, FakeSides, Telemetry]:
    clock, sides = SetClock(), FakeSides()
    telemetry = Telemetry(Snapshots(clock), log, clock)
    return Running(cast("Sides", sides), telemetry, log, clock), sides, telemetry


def test_what_is_prepared_is_in_force_only_when_it_is_put_so(log: AuditLog) -> None:
    agent, sides, _ = running(log)
    put_in_force = agent.prepared(CONFIG)
    assert sides.in_force == []
    put_in_force()
    assert sides.in_force == [CONFIG]


def test_what_could_not_be_recorded_is_not_done(log: AuditLog, tmp_path: Path) -> None:
    agent, _, _ = running(log)
    (tmp_path / "log").unlink()
    with pytest.raises(Refused) as caught:
        agent.prepared(CONFIG)
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE


def test_a_refusal_is_recorded_counted_and_waits_without_making_the_agent_unready(
    log: AuditLog, tmp_path: Path
) -> None:
    agent, _, telemetry = running(log)
    unready = telemetry.readiness.reasons()
    agent.reloaded(Outcome({"/p.rego": "sha256:1"}, BAD))
    (record,) = read_records(tmp_path / "log")
    assert {name: record.get(name) for name in ("kind", "outcome", "reason", "error", "changed")} == {
        "kind": "reload",
        "outcome": "refused",
        "reason": "policy.invalid",
        "error": BAD.detail,
        "changed": {"/p.rego": "sha256:1"},
    }
    assert sample(telemetry.observer, "spiffe_mcp_reloads_total", result="refused") == 1
    assert telemetry.readiness.warnings() == (BAD,)
    assert len(telemetry.readiness.reasons()) == len(unready)
    agent.reloaded(Outcome({}))
    assert telemetry.readiness.warnings() == ()
    assert [record["outcome"] for record in read_records(tmp_path / "log")] == ["refused", "completed"]


def test_a_record_that_fails_lets_no_call_begin_unsaid(log: AuditLog) -> None:
    agent, sides, _ = running(log)
    put_in_force = agent.prepared(CONFIG)
    log.close()
    put_in_force()
    agent.reloaded(Outcome({}))
    assert sides.in_force == [CONFIG]
    with pytest.raises(Refused):
        log.ensure_writable()
