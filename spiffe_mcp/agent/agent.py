"""One mesh agent: configuration in, bound listeners out. It wires; it decides nothing.

All listeners bind before anything else runs, so that a port that is taken is said at once. Until the first
SVID is there, and again if it is withdrawn or expires, they refuse.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import cast

from spiffe_mcp.agent.config import AgentConfig, EgressConfig, IngressConfig
from spiffe_mcp.agent.identities import WorkloadIdentities, log_event, own_source, workload_identities
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.audit import AuditLog
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.attested_listener import AttestedListener
from spiffe_mcp.mesh.callers import SoleWorkload
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.ingress_listener import IngressListener
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.routes import Address
from spiffe_mcp.mesh.served_workload import ServedWorkload
from spiffe_mcp.mesh.workload import MadeWith
from spiffe_mcp.mesh.workloads import Workloads
from spiffe_mcp.workload.attestation import check_kernel


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
    config: AgentConfig, *, clock: Callable[[], datetime], on_ready: Callable[[Ready], None]
) -> None:
    """Serve until cancelled; calls `on_ready` once.

    Raises `Refused` for what cannot be started, alone or in an `ExceptionGroup`.
    """
    own = own_source(config.identity, clock, lambda event: log_event("the agent", event))
    snapshots = Snapshots(clock)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(AuditLog.open(config.audit.file, fsync=config.audit.fsync))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits())
        stack.callback(http.close)
        workloads, link = workload_identities(config.identity, own, clock)
        observer = Unobserved()

        def live(snapshots: Snapshots) -> LiveConnections:
            return LiveConnections(
                snapshots,
                clock=clock,
                observer=observer,
                jitter=SystemRandom().random,
                longest=config.connections.max_lifetime,
            )

        own_live = live(snapshots)
        around = Surroundings(snapshots, log, config.audit.shown, clock, http, own_live, observer=observer)
        wiring = _Wiring(stack, tasks, around, live, workloads)
        egress = None if config.egress is None else await wiring.egress(config.egress)
        ingresses = tuple([await wiring.ingress(part) for part in config.ingresses])
        if link is not None:
            tasks.create_task(link.run())
        tasks.create_task(own.run())
        tasks.create_task(snapshots.follow(own.states()))
        tasks.create_task(own_live.run())
        snapshot = await snapshots.first()
        on_ready(Ready(snapshot.spiffe_id, egress, ingresses))
        await asyncio.Event().wait()  # until cancelled


@dataclass(frozen=True, slots=True)
class _Wiring:
    """What the sides of one agent are put together from. `stack` closes them, the last one first."""

    stack: AsyncExitStack
    tasks: asyncio.TaskGroup
    around: Surroundings
    live: Callable[[Snapshots], LiveConnections]
    workloads: WorkloadIdentities | None  # None: the agent has its own identity, and no other

    async def egress(self, config: EgressConfig) -> Address | Path:
        """The side that local workloads call out through; returns where it listens."""
        outward = EgressListener(self.around, config.servers, config.user)
        accept = self._for_one(outward) if self.workloads is None else self._for_many(outward, self.workloads)
        return await self.stack.enter_async_context(
            listening(config.listen.address, accept, mode=config.mode)
        )

    def _for_one(self, outward: EgressListener) -> Callable[[], asyncio.Protocol]:
        """A sidecar: whoever connects is its one workload."""
        sole = SoleWorkload(self.around)
        self.stack.callback(sole.close)
        return lambda: outward.connection(sole)

    def _for_many(
        self, outward: EgressListener, identities: WorkloadIdentities
    ) -> Callable[[], asyncio.Protocol]:
        """A node: whoever connects is attested, and has the identity of its own workload."""
        check_kernel()
        made_with = MadeWith(self.around.clock, self.around.observer, self.live)
        workloads = Workloads(self.tasks, identities.of_caller, made_with)
        self.stack.callback(workloads.close)
        return AttestedListener(outward, workloads, identities.attest).accept

    async def ingress(self, config: IngressConfig) -> Address:
        """The side that faces the mesh; returns where it listens."""
        around = self._around(config)
        inward = IngressListener(around, load_site(config, around.clock()))
        self.stack.callback(inward.close)
        bound = await self.stack.enter_async_context(listening(config.listen, inward.accept))
        return cast("Address", bound)  # as what was asked for

    def _around(self, config: IngressConfig) -> Surroundings:
        """With the agent's own identity, or with that of the MCP server's workload."""
        if config.workload is None or self.workloads is None:
            return self.around
        find = partial(self.workloads.of_server, config.workload, config.identity)
        served = ServedWorkload(str(config.identity), find, clock=self.around.clock)
        live = self.live(served.snapshots)
        self.tasks.create_task(served.run())
        self.tasks.create_task(live.run())
        return replace(self.around, snapshots=served.snapshots, live=live)
