"""How much one agent takes on, within the descriptors that it has. Pure: numbers in, numbers out.

Every connection is a descriptor, and so is every file and every key that is being loaded. An agent that runs
out of them fails where nobody expects it: a call that was admitted cannot reach its server, an SVID that came
cannot be put in force. So what may be open at once is decided beforehand, by what there is:

 - the agent's own: the audit log, the Workload API, listeners, what is being accepted, a key on its way;
 - handshakes, of which nobody knows yet whose they are: a bounded share;
 - idle connections to servers, kept for the next call: a bounded share;
 - on a node, the processes of workloads, whose end is watched: a bounded share, one pidfd for each;
 - processes of MCP servers that this agent runs: three pipes and a pidfd each, and the bridges' sockets;
 - all the rest for connections that are served, two for each: the caller's, and the one that its call needs.
   On a node half of them may be local ones, and each of those has a pidfd beside it. A call to a process
   that this agent runs goes through a bridge, whose end of the connection is one more.
"""

from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.accepting import BURST

CONNECTIONS: Final = 4096  # of an agent
HANDSHAKES: Final = 256  # at one ingress
IDLE: Final = 64  # in one pool
WORKLOADS: Final = 1024  # of a node
OWN: Final = 96
_SHARE: Final = 8  # of what is free, for handshakes and for idle connections each
_PROCESS: Final = 4  # of a process: three pipes and its pidfd
_FEWEST: Final = 16  # connections; with less nobody is served


@dataclass(frozen=True, slots=True)
class Shape:
    """What an agent consists of: listeners, pools of connections, whether it serves a node, processes."""

    listeners: int
    pools: int
    node: bool = False
    processes: int = 0  # of MCP servers, that may run at once

    @property
    def own(self) -> int:
        """What is open in any case."""
        return OWN + BURST * self.listeners + _PROCESS * self.processes


@dataclass(frozen=True, slots=True)
class Capacity:
    """What may be open at once."""

    connections: int = CONNECTIONS
    handshakes: int = HANDSHAKES
    idle: int = IDLE
    workloads: int = WORKLOADS

    @classmethod
    def within(cls, descriptors: int, shape: Shape) -> Self:
        """What an agent of this shape takes on; raises `Refused(DESCRIPTORS_TOO_FEW)`."""
        free = descriptors - shape.own
        handshakes = min(HANDSHAKES, free // _SHARE // max(1, shape.listeners))
        idle = min(IDLE, free // _SHARE // max(1, shape.pools))
        workloads = min(WORKLOADS, free // _SHARE) if shape.node else WORKLOADS
        reserved = cls(0, handshakes, idle, workloads).descriptors(shape) - shape.own
        connections = min(CONNECTIONS, (free - reserved) * 2 // _halves(shape))
        if min(connections, handshakes) < _FEWEST:
            needed = shape.own + _SHARE * _FEWEST * max(1, shape.listeners)
            raise Refused(Reason.DESCRIPTORS_TOO_FEW, f"{descriptors}; at least {needed} are needed")
        return cls(connections, handshakes, max(1, idle), workloads)

    def descriptors(self, shape: Shape) -> int:
        """How many it takes to have all of this."""
        watched = self.workloads if shape.node else 0
        served = (self.connections * _halves(shape) + 1) // 2
        return shape.own + served + self.handshakes * shape.listeners + self.idle * shape.pools + watched


def _halves(shape: Shape) -> int:
    """Twice what a connection takes on average."""
    return 4 + (1 if shape.node else 0) + (2 if shape.processes else 0)
