"""What an answer is judged by beside its call, and what it may change: of the server that gives it.

Values and ways to tell, put together by the listener for one exchange. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from spiffe_mcp.manifest import LiveView
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.policy import PolicyEngine

# Told of every page of live tools that goes by, held against the manifest.
Observer: TypeAlias = Callable[[LiveView], None]


@dataclass(frozen=True, slots=True)
class Behind:
    """Of one exchange. `decline` tells the server that its client will not answer; raises `Refused`.

    `changed`: the server says that its tools are others now.
    """

    memory: Memory
    policy: PolicyEngine
    environment: str
    clock: Callable[[], datetime]
    observe: Observer
    decline: Callable[[Declined], None]
    changed: Callable[[], None]
