"""One end of one TLS connection, without a socket: ciphertext in; ciphertext, plaintext and a `Peer` out.

The peer's chain is verified the moment the handshake completes, before anything else happens:
 - a client has then not yet sent its own certificate, let alone a request, so a wrong server learns nothing;
 - a server has not yet read a byte of a request.

There is no state in which plaintext flows without a verified peer. This module knows no SPIFFE rule (those
come as `verify`), no socket and no clock.
"""

import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.verify import PATH_REASONS
from spiffe_mcp.tls.verification import Peer

_RECORD_BYTES: Final = 16 * 1024  # the most plaintext one TLS record holds (RFC 8446 section 5.1)

# What OpenSSL's outer fence refused (x509_vfy.h), in our words. A code not listed is CHAIN_UNTRUSTED.
_VERIFY_CODES: Final = {
    **PATH_REASONS,
    66: Reason.CERTIFICATE_WEAK_KEY,
    67: Reason.CERTIFICATE_WEAK_KEY,
    68: Reason.CERTIFICATE_WEAK_SIGNATURE,
}


class TlsSession:
    """A TLS 1.3 endpoint as a value machine: `start`, then `receive` and `send`, draining `outgoing`.

    `context` is asked when the handshake begins, which for a server is with the client's first byte: so it is
    the newest then, and whoever says nothing costs nothing. `verify` is asked when the handshake completes.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        server_side: bool,
        verify: Callable[[tuple[bytes, ...]], Peer],
    ) -> None:
        self.server_side: Final = server_side
        self.peer: Peer | None = None
        self.closed_by_peer = False
        self._context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._begun: ssl.SSLObject | None = None
        self._verify = verify

    def start(self) -> None:
        """Begin the handshake, if this end has to speak first."""
        if not self.server_side:
            self._handshake()

    def receive(self, ciphertext: bytes) -> bytes:
        """Take what came off the wire; returns the plaintext it completed, if any.

        Raises `Refused`: the connection is then over, but `outgoing` may hold an alert for the peer.
        """
        self._incoming.write(ciphertext)
        if self.peer is None:
            self._handshake()
        return b"" if self.peer is None else self._read()

    def send(self, plaintext: bytes) -> bytes:
        """The ciphertext of `plaintext`."""
        if self.peer is None:
            raise Refused(Reason.TLS_HANDSHAKE, "nothing is sent before the peer is verified")
        self._tls.write(plaintext)
        return self._outgoing.read()

    def close(self) -> bytes:
        """The ciphertext that tells the peer that no more will come. The peer may still send."""
        # The peer's own goodbye is not waited for, and a session without a peer has none to say.
        with suppress(ssl.SSLError):
            if self.peer is not None:
                self._tls.unwrap()
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """What has to go on the wire now."""
        return self._outgoing.read()

    @property
    def _tls(self) -> ssl.SSLObject:
        if self._begun is None:
            context = self._context()
            self._begun = context.wrap_bio(self._incoming, self._outgoing, server_side=self.server_side)
        return self._begun

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _refusal(error) from None
        try:
            self.peer = self._verify(unverified_chain(self._tls))
        except BaseException:  # whatever went wrong, nobody was verified
            self._outgoing.read()  # our certificate and Finished: never shown to a server we refuse
            self._turn_away()
            raise

    def _turn_away(self) -> None:
        """Let a client that we refuse know: its own handshake was complete before we looked at it.

        Python cannot send the alert that RFC 8446 section 4.4.2.4 has for it. A goodbye before the first
        answer is what no server that is merely gone sends, and it cannot be forged.
        """
        if self.server_side:
            with suppress(ssl.SSLError):
                self._tls.unwrap()

    def _read(self) -> bytes:
        chunks = []
        try:
            while chunk := self._tls.read(_RECORD_BYTES):
                chunks.append(chunk)
                # Nothing is left to read, and to be told so would cost more than the record did.
                if not (self._incoming.pending or self._tls.pending()):
                    break
            else:
                self.closed_by_peer = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed_by_peer = True
        except ssl.SSLError as error:
            raise _refusal(error) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unverified_chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The peer's chain as it was sent, leaf first. A resumed session has none to show, and is refused."""
    if tls.session_reused:
        raise Refused(Reason.TLS_RESUMED)
    if sys.version_info >= (3, 13):
        return tuple(tls.get_unverified_chain())
    # Before 3.13 the same method stands only on the object behind.
    chain = tls._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
    return tuple(certificate.public_bytes(_DER) for certificate in chain)


_DER: Final = 2  # _ssl.ENCODING_DER


def _refusal(error: ssl.SSLError) -> Refused:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _VERIFY_CODES.get(error.verify_code, Reason.CHAIN_UNTRUSTED)
        return Refused(reason, error.verify_message)
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Refused(Reason.TLS_NO_CERTIFICATE)
    return Refused(Reason.TLS_HANDSHAKE, error.reason or "broken TLS")
