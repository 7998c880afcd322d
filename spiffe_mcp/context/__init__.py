"""The signed user context that travels with a call: who acts, for which user, on which request. Pure.

    egress:  Signer.of(svid) once for each SVID; mint(delegation, signer=..., ...) once for each request
    ingress: TrustedSigners(bundles) once for each set of bundles; verify(header, signers=..., ...), then
             ReplayGuard.check(...)

Modules, lowest first: `base64url`, `claims`, `jwa` (signatures); `user`, `binding`; `link` (what a link
says), `jws` (how it is written); `limits`, `minting`; `signers`, `verification`, `replay`.
"""

from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.limits import HEADER_NAME, ContextLimits
from spiffe_mcp.context.minting import Delegation, Signer, mint
from spiffe_mcp.context.replay import ReplayGuard
from spiffe_mcp.context.signers import TrustedSigners
from spiffe_mcp.context.user import User
from spiffe_mcp.context.verification import InboundHop, VerifiedContext, verify

__all__ = [
    "HEADER_NAME",
    "ContextLimits",
    "Delegation",
    "InboundHop",
    "ReplayGuard",
    "RequestBinding",
    "Signer",
    "TrustedSigners",
    "User",
    "VerifiedContext",
    "mint",
    "verify",
]
