"""Who may be at the other end, as the configuration in force says it; replaced as a whole, while others ask.

Handshakes ask when they complete, live connections when something changes: both ask this object, and so the
newest list. Default deny: the list that is here first is the configured one, and an empty one admits nobody.
"""

from spiffe_mcp.identity import AllowedIds, SpiffeId


class Authorized:
    """The newest list."""

    def __init__(self, allowed: AllowedIds) -> None:
        self.allowed = allowed

    def authorize(self, spiffe_id: SpiffeId) -> None:
        """Return if `spiffe_id` is admitted now; raises `Refused(ID_NOT_AUTHORIZED)`."""
        self.allowed.authorize(spiffe_id)
