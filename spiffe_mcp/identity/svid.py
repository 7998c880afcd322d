"""An X.509-SVID: what a workload proves its SPIFFE ID with.

Enters: the DER chain and PKCS#8 key of one SVID, as a Workload API gives them. Leaves: a frozen value whose
key, certificate and SPIFFE ID belong together. Whether the chain leads to a trusted authority is `verify`'s
question, not this module's. Pure: no I/O, no clock.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from spiffe_mcp.identity.spiffe_id import SpiffeId

SvidKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class X509Svid:
    """One X.509-SVID. `chain_der[0]` is the leaf; roots are never part of it (X509-SVID section 5).

    What the leaf says (SPIFFE ID, validity) is read from it, so an SVID cannot contradict its certificate.
    """

    chain_der: tuple[bytes, ...] = field(repr=False)
    key: SvidKey = field(repr=False, compare=False)  # the leaf says which
    hint: str = ""
    spiffe_id: SpiffeId = field(init=False)
    not_before: datetime = field(init=False)
    not_after: datetime = field(init=False)

    def __post_init__(self) -> None:
        if not self.chain_der:
            raise Refused(Reason.CHAIN_EMPTY)
        leaf = certificate.parse(self.chain_der[0])
        certificate.check_strength(leaf)
        if self.key.public_key() != leaf.public_key():
            raise Refused(Reason.SVID_KEY_MISMATCH)
        # The dataclass is frozen for everybody else; these are the fields that follow from the leaf.
        object.__setattr__(self, "spiffe_id", certificate.spiffe_id(leaf))
        object.__setattr__(self, "not_before", leaf.not_valid_before_utc)
        object.__setattr__(self, "not_after", leaf.not_valid_after_utc)

    @classmethod
    def from_der(
        cls, chain: bytes, key_pkcs8: bytes, *, hint: str = "", expected_id: str | None = None
    ) -> Self:
        """The SVID of a Workload API message: concatenated DER, leaf first, and an unencrypted PKCS#8 key.

        `expected_id` is what the message says beside the certificate; it has to say the same. Raises
        `Refused`: CHAIN_EMPTY, CERTIFICATE_*, LEAF_*_URI_SAN*, ID_MALFORMED, SVID_KEY_MALFORMED,
        SVID_KEY_MISMATCH, SVID_ID_MISMATCH.
        """
        svid = cls(certificate.split_der(chain), _parse_key(key_pkcs8), hint)
        if expected_id is not None and expected_id != str(svid.spiffe_id):
            raise Refused(Reason.SVID_ID_MISMATCH, f"the certificate says {svid.spiffe_id}")
        return svid

    def valid_at(self, now: datetime) -> bool:
        """Whether `now` lies within the leaf's validity, both ends included."""
        return self.not_before <= now <= self.not_after


def _parse_key(pkcs8: bytes) -> SvidKey:
    # No detail of the parser's: what it says of a key may hold parts of the key.
    with certificate.translated(Reason.SVID_KEY_MALFORMED, "not an unencrypted PKCS#8 key"):
        key = load_der_private_key(pkcs8, password=None)
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise Refused(Reason.SVID_KEY_MALFORMED, type(key).__name__)
    return key
