"""What a workload is and whom it trusts, at one moment.

A source of identity publishes these; TLS and signatures use the newest. Pure: no I/O, no clock.
"""

from dataclasses import dataclass
from datetime import datetime

from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.svid import X509Svid


@dataclass(frozen=True, slots=True)
class IdentityState:
    """One SVID and the bundles that came with it."""

    svid: X509Svid
    bundles: BundleSet

    def valid_at(self, now: datetime) -> bool:
        """Whether the SVID may be shown at `now`. Once it may not, nothing may be: fail closed."""
        return self.svid.valid_at(now)
