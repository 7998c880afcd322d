"""One mesh agent: configuration in, bound listeners out. It wires; it decides nothing.

All listeners bind before anything else runs, so that a port that is taken is said at once. Until the first
SVID is there, and again if it is withdrawn or expires, they refuse.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.descriptors import capacity
from spiffe_mcp.agent.identities import log_event, own_source, workload_identities
from spiffe_mcp.agent.registries import Registries
from spiffe_mcp.agent.reload import Reload
from spiffe_mcp.agent.sides import Sides
from spiffe_mcp.audit import AuditLog
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.capacity import Capacity
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.routes import Address

BUSY_WORKLOADS: Final = 16  # of a node that keep idle hops to all servers at once


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent has an identity and serves. A side that it does not have listens nowhere."""

    spiffe_id: SpiffeId
    egress: Address | Path | None
    ingresses: tuple[Address, ...]

    @property
    def ingress(self) -> Address | None:
        """Where the first or only ingress listens."""
        return next(iter(self.ingresses), None)


async def run(
    config: AgentConfig,
    *,
    clock: Callable[[], datetime],
    on_ready: Callable[[Ready], None],
    reload: Reload | None = None,
) -> None:
    """Serve until cancelled; calls `on_ready` once. `reload` reads the file that `config` came from again.

    Raises `Refused` for what cannot be started, alone or in an `ExceptionGroup`.
    """
    own = own_source(config.identity, clock, lambda event: log_event("the agent", event))
    snapshots, room, observer = Snapshots(clock), _capacity(config), Unobserved()
    workloads, link = workload_identities(config.identity, own, clock)
    registries = Registries(clock, observer, config.connections.max_lifetime)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(AuditLog.open(config.audit.file, fsync=config.audit.fsync))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits(connections=room.connections))
        stack.callback(http.close)
        live = registries.of(snapshots)
        around = Surroundings(
            snapshots, log, config.audit.shown, clock, http, live, observer=observer, capacity=room
        )
        sides = Sides(stack, tasks, around, registries, workloads)
        egress = None if config.egress is None else await sides.egress(config.egress)
        ingresses = tuple([await sides.ingress(part) for part in config.ingresses])
        if link is not None:
            tasks.create_task(link.run())
        for forever in (own.run(), snapshots.follow(own.states()), live.run()):
            tasks.create_task(forever)
        if reload is not None:
            reload.applied_by(sides.authorize)
        snapshot = await snapshots.first()
        on_ready(Ready(snapshot.spiffe_id, egress, ingresses))
        await asyncio.Event().wait()  # until cancelled


def _capacity(config: AgentConfig) -> Capacity:
    """What the agent takes on; raises `Refused(DESCRIPTORS_TOO_FEW)`."""
    pools = sum(len(ingress.servers) for ingress in config.ingresses)
    listeners = len(config.ingresses)
    if config.egress is not None:
        callers = 1 if config.identity.workloads is None else BUSY_WORKLOADS
        pools += len(config.egress.servers) * callers
        listeners += 1
    return capacity(listeners=listeners, pools=pools)
