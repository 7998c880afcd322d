"""Signed tool manifests: what a publisher signed, and whether a live tool is still that. Pure.

    publisher:  reviewed(tool, risk), in_order(tools), Manifest(...); sign(statement.write(manifest), signers)
    agent:      TrustPolicy.parse(bytes); verify_manifest(envelope, trust, server, now) once for each load
    ingress:    compare(manifest, live tools, ...) for each list; tool.validate_arguments(...) for each call

Modules, lowest first: `fields`, `canonical`, `text`, `extent`, `schema`; `definition` (one tool), `model`
(the values), `statement` (how they are written); `keys`, `dsse` (how they are signed), `trust`; `signing`,
`verify`, `live`.
"""

from spiffe_mcp.manifest import statement
from spiffe_mcp.manifest.keys import FileSigner, PublicKey, Signer
from spiffe_mcp.manifest.live import LiveView, compare
from spiffe_mcp.manifest.model import Manifest, Previous, RiskLevel, SignedTool
from spiffe_mcp.manifest.signing import in_order, reviewed, sign
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.manifest.verify import VerifiedManifest, verify_manifest

__all__ = [
    "FileSigner",
    "LiveView",
    "Manifest",
    "Previous",
    "PublicKey",
    "RiskLevel",
    "SignedTool",
    "Signer",
    "TrustPolicy",
    "VerifiedManifest",
    "compare",
    "in_order",
    "reviewed",
    "sign",
    "statement",
    "verify_manifest",
]
