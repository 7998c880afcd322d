"""One mesh agent: configuration in, bound listeners out. It wires; it decides nothing.

All listeners bind before anything else runs, so that a port that is taken is said at once. Until the first
SVID is there, and again if it is withdrawn or expires, they refuse.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.descriptors import capacity, shape_of
from spiffe_mcp.agent.identities import own_source, workload_identities
from spiffe_mcp.agent.programs import bridged
from spiffe_mcp.agent.registries import Registries
from spiffe_mcp.agent.reload import Reload
from spiffe_mcp.agent.running import Running
from spiffe_mcp.agent.sides import Sides
from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditLog
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent has an identity and serves. A side that it does not have listens nowhere."""

    spiffe_id: SpiffeId
    egress: Address | Path | None
    ingresses: tuple[Address, ...]
    admin: Address | None = None

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
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled; calls `on_ready` once. `reload` reads the file that `config` came from again.

    Once `stop` is set it lets in nobody else, ends what runs within `connections.drain`, and then itself, as
    if cancelled. Raises `Refused` for what cannot be started, alone or in an `ExceptionGroup`.
    """
    snapshots, room = Snapshots(clock), capacity(shape_of(config))
    async with AsyncExitStack() as stack:
        bridges = await stack.enter_async_context(bridged(config))  # first, so that they end last
        config = bridges.before(config)
        log = stack.enter_context(AuditLog.open(config.audit.file, fsync=config.audit.fsync))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits(connections=room.connections))
        stack.callback(http.close)
        telemetry = Telemetry(snapshots, log, clock)
        own = own_source(config.identity, clock, telemetry.heard)
        workloads, link = workload_identities(config.identity, own, clock, telemetry.heard_of)
        registries = Registries(clock, telemetry.observer, config.connections.max_lifetime)
        live, seen, shown = registries.of(snapshots), telemetry.observer, config.audit.shown
        around = Surroundings(
            snapshots, telemetry.log, shown, clock, http, live, observer=seen, capacity=room
        )
        sides = Sides(stack, tasks, around, registries, workloads, bridges)
        stack.push_async_callback(sides.stop_accepting)
        # First, for it tells why the others are not ready.
        told = await stack.enter_async_context(_telling(config.admin, telemetry, registries))
        egress = None if config.egress is None else await sides.egress(config.egress)
        ingresses = tuple([await sides.ingress(part) for part in config.ingresses])
        if link is not None:
            tasks.create_task(link.run())
        for forever in (own.run(), snapshots.follow(own.states()), live.run()):
            tasks.create_task(forever)
        if reload is not None:
            reload.applied_by(Running(sides, telemetry, log, clock))
            tasks.create_task(reload.run())
        tasks.create_task(_announced(snapshots, lambda own: on_ready(Ready(own, egress, ingresses, told))))
        await (stop or asyncio.Event()).wait()
        telemetry.readiness.drain()
        await sides.stop_accepting()
        await _drained(http, config.connections.drain)
        raise asyncio.CancelledError  # what runs still is cut, and recorded as such


async def _announced(snapshots: Snapshots, announce: Callable[[SpiffeId], None]) -> None:
    announce((await snapshots.first()).spiffe_id)


async def _drained(http: HttpServer, grace: timedelta) -> None:
    """Return when nobody waits for an answer, or `grace` is over."""
    _LOG.info("stopping: what runs has %d s", grace.total_seconds())
    with suppress(TimeoutError):
        async with asyncio.timeout(grace.total_seconds()):
            await http.drained()


@asynccontextmanager
async def _telling(
    config: AdminConfig | None, telemetry: Telemetry, registries: Registries
) -> AsyncIterator[Address | None]:
    """The admin endpoint while inside, if there is to be one; yields where it is bound."""
    if config is None:
        yield None
        return
    from spiffe_mcp.agent import admin  # noqa: PLC0415  aiohttp takes 10 MB: only who wants the endpoint pays

    registry = telemetry.registry(registries, registries.identities)
    async with admin.serving(config, telemetry.readiness, registry) as bound:
        _LOG.info("admin: http://%s", bound)
        yield bound
