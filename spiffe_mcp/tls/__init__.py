"""Mutual TLS 1.3 between SPIFFE workloads: ciphertext in, plaintext and a verified SPIFFE ID out."""

from spiffe_mcp.tls.context import TlsIdentity
from spiffe_mcp.tls.session import Peer, TlsSession
from spiffe_mcp.tls.transport import HandshakeSlots, TlsProtocol

__all__ = ["HandshakeSlots", "Peer", "TlsIdentity", "TlsProtocol", "TlsSession"]
