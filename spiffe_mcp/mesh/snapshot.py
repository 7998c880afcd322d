"""What one exchange sees: taken once at its start, never changed under it.

A rotation or a reload makes a new snapshot; running exchanges keep the one they began with.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from spiffe_mcp.context import Signer, TrustedSigners
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls import TlsIdentity


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One identity state, and what is computed from it once: the TLS contexts and the context signer.

    `signers` are those that its bundles vouch for; what is remembered of them ends with this snapshot.
    """

    identity: IdentityState
    tls: TlsIdentity
    signer: Signer
    signers: TrustedSigners

    @classmethod
    def of(cls, identity: IdentityState, tls: TlsIdentity) -> Self:
        """The snapshot of `identity`."""
        return cls(identity, tls, Signer.of(identity.svid), TrustedSigners(identity.bundles))

    @property
    def spiffe_id(self) -> SpiffeId:
        """Who this agent is."""
        return self.identity.svid.spiffe_id

    def valid_at(self, now: datetime) -> Self:
        """This snapshot; raises `Refused(IDENTITY_UNAVAILABLE)` once its SVID has expired."""
        if not self.identity.valid_at(now):
            raise Refused(Reason.IDENTITY_UNAVAILABLE, "the SVID has expired")
        return self
