"""An audit log that tells the metrics what it was given: every exchange passes it exactly once."""

from dataclasses import dataclass

from spiffe_mcp.agent.metrics import Metrics
from spiffe_mcp.audit import AuditRecord, AuditSink
from spiffe_mcp.errors import Refused


@dataclass(frozen=True, slots=True)
class CountedLog:
    """An `AuditSink` in front of another. It writes nothing and withholds nothing."""

    log: AuditSink
    metrics: Metrics

    def ensure_writable(self) -> None:
        """See `AuditSink`."""
        try:
            self.log.ensure_writable()
        except Refused:
            self.metrics.not_recorded()
            raise

    def append(self, record: AuditRecord) -> None:
        """See `AuditSink`."""
        self.metrics.recorded(record)  # before: what cannot be written has happened too
        try:
            self.log.append(record)
        except Refused:
            self.metrics.not_recorded()
            raise
