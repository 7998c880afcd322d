"""What every exchange needs around it, on both sides of a hop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from spiffe_mcp.audit import AuditSink
from spiffe_mcp.http import HttpServer
from spiffe_mcp.mesh.capacity import Capacity
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.memory import Tables, local_tables
from spiffe_mcp.mesh.observer import Observer, Unobserved
from spiffe_mcp.mesh.patience import StreamLimits


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Identity, evidence, time and connections: one agent's, shared by its listeners."""

    snapshots: Snapshots
    log: AuditSink
    shown: frozenset[str]  # parameters whose values may stand in records
    clock: Callable[[], datetime]
    http: HttpServer
    live: LiveConnections
    limits: StreamLimits = field(default_factory=StreamLimits)
    observer: Observer = field(default_factory=Unobserved)
    capacity: Capacity = field(default_factory=Capacity)
    tables: Tables = local_tables
