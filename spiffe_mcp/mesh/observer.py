"""What the mesh tells of itself while it runs: events in, to whoever counts them.

The mesh decides and moves bytes; what is made of these events (metrics, readiness) is the composition root's
affair. An observer must not block and must not raise.
"""

from typing import Protocol

from spiffe_mcp.audit import Side
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.sources.events import SourceEvent


class Observer(Protocol):
    """Told of what happens to identities, handshakes and connections."""

    def identity(self, event: SourceEvent) -> None:
        """A source of identity has news."""

    def handshake(self, side: Side, refused: Refused | None) -> None:
        """A handshake has ended: completed, or refused for this reason."""

    def address_failed(self, refused: Refused) -> None:
        """An egress found no hop to be had at an address of a server, and leaves it alone for a while."""

    def cut(self, side: Side, refused: Refused) -> None:
        """A live connection was ended because its peer is not, or no longer, who may be here."""


class Unobserved:
    """An observer that looks away."""

    def identity(self, event: SourceEvent) -> None:
        """Nothing."""

    def handshake(self, side: Side, refused: Refused | None) -> None:
        """Nothing."""

    def address_failed(self, refused: Refused) -> None:
        """Nothing."""

    def cut(self, side: Side, refused: Refused) -> None:
        """Nothing."""
