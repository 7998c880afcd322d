"""Who a peer is: SPIFFE IDs, X.509-SVIDs, bundles, and the verification of a chain."""

from spiffe_mcp.identity.bundle import Bundle, BundleSet
from spiffe_mcp.identity.spiffe_id import AllowedIds, IdPattern, SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid
from spiffe_mcp.identity.verify import verify_chain

__all__ = [
    "AllowedIds",
    "Bundle",
    "BundleSet",
    "IdPattern",
    "SpiffeId",
    "TrustDomain",
    "X509Svid",
    "verify_chain",
]
