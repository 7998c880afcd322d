"""Whose signature on a link counts: the signers whose chains lead to one set of bundles, remembered.

Enters: the first part of a link, as it came, and `now`. Leaves: who signs with it, and with which key, or a
refusal. All links of one SVID begin with the same octets, and to verify its chain costs more than all the
rest of a link; so what was found is kept, under those very octets. What ends it:

 - other bundles: a memory is made for one `BundleSet` and dropped with it, so a revoked authority is gone
   with the snapshot that still knew it;
 - time: a `VerifiedPath` knows until when it holds, the signer's own expiry included;
 - its bound: the oldest makes room. Only what was verified is kept, so no stranger can fill it.

Refusals are not kept; each is found anew. Nothing of a payload is: signature, audience, request, time and
replay are looked at with every link. Pure in its answers: no clock, no I/O; one event loop owns a memory.
"""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from spiffe_mcp.context import jwa, jws
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.verify import VerifiedPath, verify_path
from spiffe_mcp.permit import GrantedOnly
from spiffe_mcp.recent import Recent

CAPACITY: Final = 512  # signers; some 4 KB each


@dataclass(frozen=True, slots=True)
class TrustedSigner(metaclass=GrantedOnly):
    """One SVID that may sign links: its leaf, the SHA-256 of that, and the leaf's key."""

    path: VerifiedPath
    leaf_der: bytes = field(repr=False)
    thumbprint: bytes
    key: jwa.VerifyingKey = field(repr=False)

    @property
    def spiffe_id(self) -> SpiffeId:
        """Who it is: X.509 says so, not a claim."""
        return self.path.spiffe_id


class TrustedSigners:
    """The signers that `bundles` vouch for."""

    def __init__(self, bundles: BundleSet, capacity: int = CAPACITY) -> None:
        self._bundles = bundles
        self._known: Recent[bytes, TrustedSigner] = Recent(capacity)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, header: bytes, now: datetime) -> TrustedSigner:
        """Who signs with `header`, the first part of a link, at `now`.

        Raises `Refused`: CONTEXT_MALFORMED, CONTEXT_HEADER_FORBIDDEN, CONTEXT_TYPE, CONTEXT_CERTIFICATE,
        CONTEXT_ALGORITHM.
        """
        known = self._known.get(header)
        if known is not None and known.path.holds_at(now):
            return known
        return self._known.keep(header, self._verified(header, now))

    def _verified(self, header: bytes, now: datetime) -> TrustedSigner:
        said = jws.read_header(header)
        # The same validator as for TLS, and now: an authority may have gone since the handshake.
        try:
            path = verify_path(said.x5c, self._bundles, now)
        except Refused as error:
            raise Refused(Reason.CONTEXT_CERTIFICATE, str(error)) from None
        leaf = said.x5c[0]
        key = jwa.verifying_key(certificate.parse(leaf).public_key())
        # RFC 8725 section 3.1: the key allows one algorithm, and the header has to name that one.
        if said.algorithm != jwa.algorithm(key):
            raise Refused(Reason.CONTEXT_ALGORITHM, "not the algorithm of the certificate's key")
        return TrustedSigner.granted(path=path, leaf_der=leaf, thumbprint=sha256(leaf).digest(), key=key)
