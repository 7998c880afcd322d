"""One mesh agent: configuration in, bound listeners out. It wires; it decides nothing.

All listeners bind before anything else runs, so that a port that is taken is said at once. Until the first
SVID is there, and again if it is withdrawn or expires, they refuse.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Final

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.audit import AuditLog
from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.sources.events import SourceEvent, Updated
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.ingress_listener import IngressListener
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.routes import Address

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent has an identity and serves. A side that it does not have listens nowhere."""

    spiffe_id: SpiffeId
    egress: Address | Path | None
    ingress: Address | Path | None


async def run(
    config: AgentConfig, *, clock: Callable[[], datetime], on_ready: Callable[[Ready], None]
) -> None:
    """Serve until cancelled; calls `on_ready` once.

    Raises `Refused` for what cannot be started, alone or in an `ExceptionGroup`.
    """
    identity = config.identity
    source = WorkloadApiSource(identity.socket, wanted=identity.wanted, clock=clock, on_event=_log_event)
    snapshots = Snapshots(clock)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(AuditLog.open(config.audit.file, fsync=config.audit.fsync))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = HttpServer(tasks, Limits())
        stack.callback(http.close)
        observer = Unobserved()
        live = LiveConnections(
            snapshots,
            clock=clock,
            observer=observer,
            jitter=SystemRandom().random,
            longest=config.connections.max_lifetime,
        )
        around = Surroundings(snapshots, log, config.audit.shown, clock, http, live, observer=observer)
        egress = ingress = None
        if config.egress is not None:
            outward = EgressListener(around, config.egress.servers, config.egress.user)
            stack.callback(outward.close)
            egress = await stack.enter_async_context(listening(config.egress.listen.address, outward.accept))
        if config.ingress is not None:
            inward = IngressListener(around, load_site(config.ingress, clock()))
            stack.callback(inward.close)
            ingress = await stack.enter_async_context(listening(config.ingress.listen, inward.accept))
        tasks.create_task(source.run())
        tasks.create_task(snapshots.follow(source.states()))
        tasks.create_task(live.run())
        snapshot = await snapshots.first()
        on_ready(Ready(snapshot.spiffe_id, egress, ingress))
        await asyncio.Event().wait()  # until cancelled


def _log_event(event: SourceEvent) -> None:
    if isinstance(event, Updated):
        _LOG.info("identity: %s until %s", event.state.svid.spiffe_id, event.state.svid.not_after)
    else:
        _LOG.warning("identity: %s", event)
