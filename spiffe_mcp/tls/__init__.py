"""Mutual TLS 1.3 between SPIFFE workloads: ciphertext in, plaintext and a verified SPIFFE ID out."""

from spiffe_mcp.tls.context import TlsIdentity
from spiffe_mcp.tls.lifetime import Drain, Lifetime
from spiffe_mcp.tls.session import TlsSession
from spiffe_mcp.tls.transport import HandshakeSlots, TlsProtocol
from spiffe_mcp.tls.verification import Authorization, Peer, verify_peer

__all__ = [
    "Authorization",
    "Drain",
    "HandshakeSlots",
    "Lifetime",
    "Peer",
    "TlsIdentity",
    "TlsProtocol",
    "TlsSession",
    "verify_peer",
]
