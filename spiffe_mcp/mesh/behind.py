"""What an answer is judged by beside its call, and what it may change: of the server that gives it.

Values and ways to tell, put together by the listener for one exchange. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from spiffe_mcp.manifest import LiveView
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.policy import PolicyEngine

# Told of every page of live tools that goes by, held against the manifest.
Observer: TypeAlias = Callable[[LiveView], None]


class Rules(Protocol):
    """What is decided by."""

    @property
    def policy(self) -> PolicyEngine:
        """Whom to ask."""

    @property
    def environment(self) -> str:
        """What it is told of where this is."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Of one exchange. `decline` tells the server that its client will not answer; raises `Refused`.

    `rules` are those of this moment: an answer may last longer than the rules that it began under.
    `changed`: the server says that its tools are others now.
    """

    memory: Memory
    rules: Callable[[], Rules]
    clock: Callable[[], datetime]
    observe: Observer
    decline: Callable[[Declined], None]
    changed: Callable[[], None]

    @property
    def policy(self) -> PolicyEngine:
        """The policy of this moment."""
        return self.rules().policy

    @property
    def environment(self) -> str:
        """Likewise."""
        return self.rules().environment
