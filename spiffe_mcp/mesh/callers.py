"""In whose name a local request goes out: the identity behind one connection to the egress.

In a sidecar there is one workload, and the agent's identity is its own. On a node there are many, and each
connection belongs to the one whose process the kernel named (`workloads`).
"""

from typing import Protocol

from spiffe_mcp.audit import Caller
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Destination, Hop, Hops
from spiffe_mcp.mesh.snapshot import Snapshot


class LocalCaller(Protocol):
    """Whoever is at the other end of one local connection."""

    @property
    def described(self) -> Caller:
        """What a record says of it, before it is known for whom it calls."""

    async def snapshot(self) -> Snapshot:
        """Its identity now; raises `Refused` if there is none, perhaps after waiting for the first one."""

    async def lease(self, destination: Destination, snapshot: Snapshot) -> Hop:
        """One of its own hops; raises `Refused`. `snapshot` is one that it gave."""


class SoleWorkload:
    """The only workload of this agent, whose SVID the agent holds: whoever reaches the listener is it."""

    described = Caller()

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._hops = Hops(around.live, around.observer, around.capacity.idle)

    async def snapshot(self) -> Snapshot:
        """The agent's own identity."""
        return self._around.snapshots.current(self._around.clock())

    async def lease(self, destination: Destination, snapshot: Snapshot) -> Hop:
        """A hop of this agent."""
        return await self._hops.lease(destination, snapshot)

    def close(self) -> None:
        """End the idle hops."""
        self._hops.close()
