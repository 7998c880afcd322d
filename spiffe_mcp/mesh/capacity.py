"""How much one agent takes on, within the descriptors that it has. Pure: numbers in, numbers out.

Every connection is a descriptor, and so is every file and every key that is being loaded. An agent that runs
out of them fails where nobody expects it: a call that was admitted cannot reach its server, an SVID that came
cannot be put in force. So what may be open at once is decided beforehand, by what there is:

 - the agent's own: the audit log, the Workload API, listeners, what is being accepted, a key on its way;
 - handshakes, of which nobody knows yet whose they are: a bounded share;
 - idle connections to servers, kept for the next call: a bounded share;
 - all the rest for connections that are served, two for each: the caller's, and the one that its call needs.
"""

from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.accepting import BURST

CONNECTIONS: Final = 4096  # of an agent
HANDSHAKES: Final = 256  # at one ingress
IDLE: Final = 64  # in one pool
OWN: Final = 96
_SHARE: Final = 8  # of what is free, for handshakes and for idle connections each
_FEWEST: Final = 16  # connections; with less nobody is served


@dataclass(frozen=True, slots=True)
class Capacity:
    """What may be open at once."""

    connections: int = CONNECTIONS
    handshakes: int = HANDSHAKES
    idle: int = IDLE

    @classmethod
    def within(cls, descriptors: int, *, listeners: int, pools: int) -> Self:
        """What an agent with so many listeners, and pools of connections to servers, takes on.

        Raises `Refused(DESCRIPTORS_TOO_FEW)`.
        """
        free = descriptors - OWN - BURST * listeners
        handshakes = min(HANDSHAKES, free // _SHARE // max(1, listeners))
        idle = min(IDLE, free // _SHARE // max(1, pools))
        connections = min(CONNECTIONS, (free - handshakes * listeners - idle * pools) // 2)
        if min(connections, handshakes) < _FEWEST:
            needed = _needed(_FEWEST, listeners)
            raise Refused(Reason.DESCRIPTORS_TOO_FEW, f"{descriptors}; at least {needed} are needed")
        return cls(connections, handshakes, max(1, idle))

    def descriptors(self, *, listeners: int, pools: int) -> int:
        """How many it takes to have all of this."""
        open_at_once = 2 * self.connections + self.handshakes * listeners + self.idle * pools
        return OWN + BURST * listeners + open_at_once


def _needed(fewest: int, listeners: int) -> int:
    return OWN + BURST * listeners + _SHARE * fewest * max(1, listeners)
