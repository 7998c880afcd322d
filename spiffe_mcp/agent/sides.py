"""The sides of one agent, egress and ingresses: put together, bound, and reached again by a reload."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from spiffe_mcp.agent.config import AgentConfig, EgressConfig, IngressConfig
from spiffe_mcp.agent.descriptors import BUSY_WORKLOADS, check_room
from spiffe_mcp.agent.identities import WorkloadIdentities
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.agent.programs import Bridges
from spiffe_mcp.agent.registries import Registries
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.attested_listener import AttestedListener
from spiffe_mcp.mesh.callers import SoleWorkload
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.ingress_listener import IngressListener
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.served_workload import ServedWorkload
from spiffe_mcp.mesh.workload import MadeWith
from spiffe_mcp.mesh.workloads import WorkloadLimits, Workloads
from spiffe_mcp.workload.attestation import check_kernel


class Sides:
    """What the sides of one agent are made of, and those that are made. `stack` closes them, the last first.

    `workloads` is None where the agent has its own identity and no other.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        tasks: asyncio.TaskGroup,
        around: Surroundings,
        registries: Registries,
        workloads: WorkloadIdentities | None,
        bridges: Bridges,
    ) -> None:
        self._stack = stack
        self._doors = AsyncExitStack()
        self._tasks = tasks
        self._around = around
        self._registries = registries
        self._workloads = workloads
        self._bridges = bridges
        self._outward: EgressListener | None = None
        self._inward: list[IngressListener] = []

    async def egress(self, config: EgressConfig) -> Address | Path:
        """The side that local workloads call out through; returns where it listens."""
        self._outward = outward = EgressListener(self._around, config.servers, config.user)
        accept = (
            self._for_one(outward)
            if self._workloads is None
            else self._for_many(outward, self._workloads, len(config.servers))
        )
        return await self._doors.enter_async_context(
            listening(config.listen.address, accept, mode=config.mode)
        )

    async def ingress(self, config: IngressConfig) -> Address:
        """The side that faces the mesh; returns where it listens."""
        around = self._around_server(config)
        inward = IngressListener(around, load_site(config, around.clock()))
        self._inward.append(inward)
        self._stack.callback(inward.close)
        bound = await self._doors.enter_async_context(listening(config.listen, inward.accept))
        return cast("Address", bound)  # as what was asked for

    async def stop_accepting(self) -> None:
        """Let nobody else in. Who is in stays."""
        await self._doors.aclose()

    def prepared(self, anew: AgentConfig) -> Callable[[], None]:
        """Make ready to go on by `anew`, which has the same sides.

        Returns what puts it in force, at once, and cannot fail. Raises `Refused`, and nothing has changed, if
        any part of it cannot be made ready.
        """
        check_room(anew, self._around.capacity)
        anew = self._bridges.before(anew)
        now = self._around.clock()
        inward = [
            listener.replacement(load_site(config, now))
            for listener, config in zip(self._inward, anew.ingresses, strict=True)
        ]

        def put_in_force() -> None:
            for put in inward:
                put()
            if self._outward is not None and anew.egress is not None:
                self._outward.replace(anew.egress.servers, anew.egress.user)
            self._registries.recheck()
            for listener in self._inward:
                self._tasks.create_task(listener.look_again())

        return put_in_force

    def _for_one(self, outward: EgressListener) -> Callable[[], asyncio.Protocol]:
        """A sidecar: whoever connects is its one workload."""
        sole = SoleWorkload(self._around)
        self._stack.callback(sole.close)
        return lambda: outward.connection(sole)

    def _for_many(
        self, outward: EgressListener, identities: WorkloadIdentities, servers: int
    ) -> Callable[[], asyncio.Protocol]:
        """A node: whoever connects is attested, and has the identity of its own workload."""
        check_kernel()
        made_with = MadeWith(
            self._around.clock, self._around.observer, self._registries.of, self._around.capacity.idle
        )
        # As many as `descriptors.shape_of` counts on, however many workloads there are.
        room = self._around.capacity
        limits = WorkloadLimits(room.workloads, idle=room.idle * BUSY_WORKLOADS * servers)
        workloads = Workloads(self._tasks, identities.of_caller, made_with, limits)
        self._stack.callback(workloads.close)
        # Half: what the mesh sends finds room however many local callers there are.
        connections = room.connections // 2
        return AttestedListener(outward, workloads, identities.attest, connections).accept

    def _around_server(self, config: IngressConfig) -> Surroundings:
        """With the agent's own identity, or with that of the MCP server's workload."""
        if config.workload is None or self._workloads is None:
            return self._around
        find = partial(self._workloads.of_server, config.workload, config.identity)
        served = ServedWorkload(str(config.identity), find, clock=self._around.clock)
        live = self._registries.of(served.snapshots)
        self._tasks.create_task(served.run())
        self._tasks.create_task(live.run())
        return replace(self._around, snapshots=served.snapshots, live=live)
