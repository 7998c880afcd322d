"""The process's limit of file descriptors: raised as far as the agent can use it, and as the system lets it.

Where it stays low, the agent takes on less, and says so; where it is too low to serve anybody, it does not
start. `mesh.capacity` has the numbers.
"""

import logging
import resource
from typing import Final

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.capacity import Capacity, Shape
from spiffe_mcp.mesh.stdio import Processes, Program

BUSY_WORKLOADS: Final = 16  # of a node, that keep idle hops to all servers at once

_LOG: Final = logging.getLogger(__name__)


def shape_of(config: AgentConfig) -> Shape:
    """What the agent of `config` consists of."""
    servers = [server for ingress in config.ingresses for server in ingress.servers]
    programs = [server.upstream for server in servers if isinstance(server.upstream, Program)]
    # Each has a bridge, which listens too.
    listeners, processes = len(config.ingresses) + len(programs), sum(map(_processes, programs))
    if config.egress is None:
        return Shape(listeners, len(servers), processes=processes)
    node = config.identity.workloads is not None
    pools = len(servers) + len(config.egress.servers) * (BUSY_WORKLOADS if node else 1)
    return Shape(listeners + 1, pools, node, processes)


def _processes(program: Program) -> int:
    """How many there may be: those for sessions, and as many that are ending; one for 2026-07-28."""
    return 1 + (1 if program.processes is Processes.SHARED else 2 * program.most)


def capacity(shape: Shape) -> Capacity:
    """What this process can take on; raises `Refused(DESCRIPTORS_TOO_FEW)`."""
    wanted = Capacity().descriptors(shape)
    there = raised(wanted)
    within = Capacity.within(there, shape)
    if within != Capacity():
        _LOG.warning(
            "%d descriptors (ulimit -n), %d are wanted: at most %d connections and %d handshakes at once",
            there,
            wanted,
            within.connections,
            within.handshakes,
        )
    return within


def check_room(config: AgentConfig, taken: Capacity) -> None:
    """Return if an agent that takes on so much can go on by `config`.

    Raises `Refused(DESCRIPTORS_TOO_FEW)`: more servers have more idle connections.
    """
    wanted = taken.descriptors(shape_of(config))
    if (there := raised(wanted)) < wanted:
        raise Refused(Reason.DESCRIPTORS_TOO_FEW, f"{there}; {wanted} are needed, or a restart")


def raised(wanted: int) -> int:
    """How many descriptors there are, after asking for as many as are `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return wanted if soft == resource.RLIM_INFINITY else soft
