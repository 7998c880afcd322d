"""One mesh agent: configuration in, bound listeners out. It wires; it decides nothing.

All listeners bind before anything else runs, so that a port that is taken is said at once. Until the first
SVID is there, and again if it is withdrawn or expires, they refuse.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Final
from weakref import WeakSet

from spiffe_mcp.agent import admin
from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.descriptors import capacity
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.agent.reload import Reload
from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditLog
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import AllowedIds, SpiffeId
from spiffe_mcp.identity.sources.events import SourceEvent, Updated
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.mesh.capacity import Capacity
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.ingress_listener import IngressListener
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Observer
from spiffe_mcp.mesh.routes import Address

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent has an identity and serves. A side that it does not have listens nowhere."""

    spiffe_id: SpiffeId
    egress: Address | Path | None
    ingress: Address | Path | None
    admin: Address | None = None


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
    snapshots = Snapshots(clock)
    room = _capacity(config)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(AuditLog.open(config.audit.file, fsync=config.audit.fsync))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits(connections=room.connections))
        stack.callback(http.close)
        telemetry = Telemetry(snapshots, log, clock)
        source = _source(config, clock, telemetry)
        sides = _Sides(config, clock, telemetry.observer)
        live = sides.live(snapshots)
        seen, shown = telemetry.observer, config.audit.shown
        around = Surroundings(
            snapshots, telemetry.log, shown, clock, http, live, observer=seen, capacity=room
        )
        # First, for it tells why the others are not ready.
        told = await stack.enter_async_context(_telling(config.admin, telemetry, live))
        egress = ingress = None
        if config.egress is not None:
            sides.outward = outward = EgressListener(around, config.egress.servers, config.egress.user)
            stack.callback(outward.close)
            egress = await stack.enter_async_context(listening(config.egress.listen.address, outward.accept))
        if config.ingress is not None:
            sides.inward = inward = IngressListener(around, load_site(config.ingress, clock()))
            stack.callback(inward.close)
            ingress = await stack.enter_async_context(listening(config.ingress.listen, inward.accept))
        for forever in (source.run(), snapshots.follow(source.states()), live.run()):
            tasks.create_task(forever)
        if reload is not None:
            reload.applied_by(sides.authorize)
        snapshot = await snapshots.first()
        on_ready(Ready(snapshot.spiffe_id, egress, ingress, told))
        await asyncio.Event().wait()  # until cancelled


class _Sides:
    """What of a running agent a reload reaches: who may be at the other end, and who is there now."""

    def __init__(self, config: AgentConfig, clock: Callable[[], datetime], observer: Observer) -> None:
        self.outward: EgressListener | None = None
        self.inward: IngressListener | None = None
        self._config = config
        self._clock = clock
        self._observer = observer
        self._registries: WeakSet[LiveConnections] = WeakSet()

    def live(self, snapshots: Snapshots) -> LiveConnections:
        """The live connections of one identity."""
        registry = LiveConnections(
            snapshots,
            clock=self._clock,
            observer=self._observer,
            jitter=SystemRandom().random,
            longest=self._config.connections.max_lifetime,
        )
        self._registries.add(registry)
        return registry

    def authorize(self, anew: AgentConfig) -> None:
        """Let those be at the other end whom `anew` names, and look at everybody who is there."""
        if self.outward is not None:
            self.outward.authorize(anew.egress.servers if anew.egress is not None else ())
        if self.inward is not None:
            self.inward.authorize(anew.ingress.peers if anew.ingress is not None else AllowedIds())
        for registry in self._registries:
            registry.recheck()


def _capacity(config: AgentConfig) -> Capacity:
    """What the agent takes on; raises `Refused(DESCRIPTORS_TOO_FEW)`."""
    sides = [side for side in (config.egress, config.ingress) if side is not None]
    return capacity(listeners=len(sides), pools=sum(len(side.servers) for side in sides))


@asynccontextmanager
async def _telling(
    config: AdminConfig | None, telemetry: Telemetry, live: LiveConnections
) -> AsyncIterator[Address | None]:
    """The admin endpoint while inside, if there is to be one; yields where it is bound."""
    if config is None:
        yield None
        return
    async with admin.serving(config, telemetry.readiness.reasons, telemetry.registry(live)) as bound:
        _LOG.info("admin: http://%s", bound)
        yield bound


def _source(config: AgentConfig, clock: Callable[[], datetime], telemetry: Telemetry) -> WorkloadApiSource:
    """The agent's own source of identity, which tells its news to the log and to whoever counts."""

    def tell(event: SourceEvent) -> None:
        _log_event(event)
        telemetry.heard(event)

    identity = config.identity
    return WorkloadApiSource(identity.socket, wanted=identity.wanted, clock=clock, on_event=tell)


def _log_event(event: SourceEvent) -> None:
    if isinstance(event, Updated):
        _LOG.info("identity: %s until %s", event.state.svid.spiffe_id, event.state.svid.not_after)
    else:
        _LOG.warning("identity: %s", event)
