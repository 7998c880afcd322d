"""What the hops of a workload are made with, where a test does not look at how long they live."""

from typing import Final

from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Unobserved
from spiffe_mcp.mesh.workload import MadeWith
from tests.exchange.playbook import NOW


def _live(snapshots: Snapshots) -> LiveConnections:
    return LiveConnections(snapshots, clock=lambda: NOW, observer=Unobserved(), jitter=lambda: 0.0)


MADE_WITH: Final = MadeWith(clock=lambda: NOW, observer=Unobserved(), live=_live)
