"""What one agent tells of itself, put together: counters, gauges and readiness of one identity and one log.

It wires; what is told is decided in `metrics`, `gauges` and `readiness`. The registry is its own: two agents
in one process do not count into each other.
"""

from collections.abc import Callable, Iterable, Sized
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector

from spiffe_mcp.agent.counted_log import CountedLog
from spiffe_mcp.agent.gauges import Gauges
from spiffe_mcp.agent.identities import log_event
from spiffe_mcp.agent.metrics import Metrics
from spiffe_mcp.agent.readiness import Readiness
from spiffe_mcp.audit import AuditSink
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.sources.events import SourceEvent
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.identity import Snapshots


def _none(_: Snapshots) -> Iterable[IdentityState]:
    return ()


class Telemetry:
    """`observer` and `log` are for the mesh; `heard` is for the agent's own source of identity."""

    def __init__(self, snapshots: Snapshots, log: AuditSink, clock: Callable[[], datetime]) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self.observer = Metrics(clock)
        self.log = CountedLog(log, self.observer)
        # By the log itself: a probe is no call that was refused.
        self.readiness = Readiness(snapshots, log, clock)

    def heard(self, event: SourceEvent) -> None:
        """The agent's own source has news."""
        self.heard_of("the agent", event)
        self.readiness.heard(event)

    def heard_of(self, whose: str, event: SourceEvent) -> None:
        """A source of identity has news: told to the log, and counted."""
        log_event(whose, event)
        self.observer.identity(event)

    def reloaded(self, refused: Refused | None) -> None:
        """The configuration was read again, and put in force or refused."""
        self.observer.reloaded(refused)
        self.readiness.reloaded(refused)

    def registry(
        self, connections: Sized, others: Callable[[Snapshots], Iterable[IdentityState]] = _none
    ) -> CollectorRegistry:
        """Everything that is exported; `others` are the identities held besides the agent's own."""
        registry = CollectorRegistry()
        registry.register(self.observer)
        registry.register(
            Gauges(
                clock=self._clock,
                states=lambda: (*self._own(), *others(self._snapshots)),
                updated=self.observer.updated,
                connections=lambda: len(connections),
                ready=lambda: not self.readiness.reasons(),
                in_force=lambda: self.observer.in_force,
            )
        )
        ProcessCollector(registry=registry)
        return registry

    def _own(self) -> tuple[IdentityState, ...]:
        newest = self._snapshots.newest
        return () if newest is None else (newest.identity,)
