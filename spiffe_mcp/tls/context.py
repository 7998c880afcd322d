"""TLS contexts of one identity state: an SVID and bundles in, `ssl.SSLContext`s and sessions out.

A context is built once for each state and never changed: rotation means a new `TlsIdentity`, so that every
new handshake uses the newest SVID and bundles and no running one changes under its feet. The private key
goes to OpenSSL through a memfd: `load_cert_chain` takes only paths, and a key never touches a disk.

OpenSSL's own chain check stays on as the outer fence. It pools the roots of all trust domains and knows no
SPIFFE rule, so it can only refuse; who the peer *is* says `identity.verify_chain` alone.
"""

import os
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography.hazmat.primitives import serialization

from spiffe_mcp.identity import AllowedIds, SpiffeId, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls.session import TlsSession
from spiffe_mcp.tls.verification import Authorization, Peer, verify_peer


class TlsIdentity:
    """What this end shows and whom it believes, for as long as one identity state lasts."""

    def __init__(
        self,
        state: IdentityState,
        clock: Callable[[], datetime],
        protocols: Sequence[str] = ("http/1.1",),
    ) -> None:
        self.state = state
        self._protocols = protocols
        self._clock = clock
        # Now, not at the first handshake: what cannot be built is found out while there is another state.
        self.server_context = self._for_servers()
        self.client_context = self._for_clients()

    def accept(self, allowed: Authorization) -> TlsSession:
        """The server's end of a connection that only `allowed` peers may open."""
        return TlsSession(lambda: self.server_context, server_side=True, verify=self._verifier(allowed))

    def connect(self, server: SpiffeId) -> TlsSession:
        """The client's end of a connection that only `server` may answer."""
        return self.connect_to(AllowedIds.only(server))

    def connect_to(self, allowed: Authorization) -> TlsSession:
        """The client's end of a connection that any of `allowed` may answer."""
        return self.dial(self._verifier(allowed))

    def dial(self, verify: Callable[[tuple[bytes, ...]], Peer]) -> TlsSession:
        """The client's end of a connection that whoever `verify` admits may answer."""
        return TlsSession(lambda: self.client_context, server_side=False, verify=verify)

    def _verifier(self, allowed: Authorization) -> Callable[[tuple[bytes, ...]], Peer]:
        def verify(chain_der: tuple[bytes, ...]) -> Peer:
            return verify_peer(chain_der, self.state.bundles, allowed, self._clock())

        return verify

    def _for_servers(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        # A resumed session skips the certificate, and with it revocation: a client whose authority is gone
        # would still be let in. No tickets, no resumption.
        context.num_tickets = 0
        return context

    def _for_clients(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the name that counts is the SPIFFE ID; see TlsSession
        return context

    def _context(self, side: int) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(list(self._protocols))
        authorities = b"".join(self.state.bundles.authorities_der)
        if authorities:  # none means nobody: OpenSSL refuses every peer
            context.load_verify_locations(cadata=authorities)
        load_svid(context, self.state.svid)
        return context


def load_svid(context: ssl.SSLContext, svid: X509Svid) -> None:
    """Let `context` show `svid` in new handshakes."""
    # To a chain of one certificate OpenSSL adds its issuer from the authorities above (Python has no
    # SSL_MODE_NO_AUTO_CHAIN); `verify_chain` takes a root among the issuers for what it is, and needs none.
    key_pem = svid.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain_pem = "".join(map(ssl.DER_cert_to_PEM_cert, svid.chain_der)).encode()
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as memory:
        memory.write(key_pem + chain_pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
