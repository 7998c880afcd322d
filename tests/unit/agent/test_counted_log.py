"""The log behind it gets everything and decides everything; what it could not write is counted too."""

from pathlib import Path

import pytest

from spiffe_mcp.agent.counted_log import CountedLog
from spiffe_mcp.agent.metrics import Metrics
from spiffe_mcp.audit import AuditLog, Draft, Fsync, Side, read_records, recorded
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.mini_ca import NOW
from tests.unit.agent.observed import SetClock, sample


def exchange(log: CountedLog) -> None:
    with recorded(log, Draft(time=NOW, exchange="x", side=Side.EGRESS)) as draft:
        draft.complete()


def test_a_record_is_written_and_counted(tmp_path: Path) -> None:
    metrics = Metrics(SetClock())
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as log:
        exchange(CountedLog(log, metrics))
    assert len([*read_records(tmp_path / "log")]) == 1
    assert sample(metrics, "spiffe_mcp_exchanges_total", side="egress", outcome="completed") == 1
    assert sample(metrics, "spiffe_mcp_audit_failures_total") == 0


def test_a_log_that_is_gone_refuses_as_before_and_is_counted(tmp_path: Path) -> None:
    metrics = Metrics(SetClock())
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as log:
        (tmp_path / "log").unlink()
        with pytest.raises(Refused) as refused:
            exchange(CountedLog(log, metrics))
    assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
    assert sample(metrics, "spiffe_mcp_audit_failures_total") == 1
    assert sample(metrics, "spiffe_mcp_exchanges_total", side="egress", outcome="completed") == 0


def test_a_record_that_cannot_be_written_has_happened_and_is_counted_as_both(tmp_path: Path) -> None:
    metrics = Metrics(SetClock())
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as log:
        counted = CountedLog(log, metrics)
        draft = Draft(time=NOW, exchange="x", side=Side.EGRESS)
        draft.complete()
        log.close()
        with pytest.raises(Refused):
            counted.append(draft.record())
    assert sample(metrics, "spiffe_mcp_audit_failures_total") == 1
    assert sample(metrics, "spiffe_mcp_exchanges_total", side="egress", outcome="completed") == 1
