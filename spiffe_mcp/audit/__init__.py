"""One tamper-evident record for every decision.

    with AuditLog.open(path, fsync=Fsync.ALWAYS) as log:
        with recorded(log, Draft(time=now, exchange=id, side=Side.INGRESS)) as draft: ...

Modules, lowest first: `record` (what is written) and `chain` (how lines are bound), both pure; `recorded`
(exactly one record for each exchange); `log` (the file).
"""

from spiffe_mcp.audit.chain import Break, ChainReport, Link, verify
from spiffe_mcp.audit.log import AuditLog, Fsync, read_lines, read_records
from spiffe_mcp.audit.record import (
    AuditRecord,
    Caller,
    Kind,
    Outcome,
    Parameters,
    ReloadRecord,
    Ruling,
    Side,
    Target,
    Verdict,
)
from spiffe_mcp.audit.recorded import AuditSink, Draft, recorded

__all__ = [
    "AuditLog",
    "AuditRecord",
    "AuditSink",
    "Break",
    "Caller",
    "ChainReport",
    "Draft",
    "Fsync",
    "Kind",
    "Link",
    "Outcome",
    "Parameters",
    "ReloadRecord",
    "Ruling",
    "Side",
    "Target",
    "Verdict",
    "read_lines",
    "read_records",
    "recorded",
    "verify",
]
