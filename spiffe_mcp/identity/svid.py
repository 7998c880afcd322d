"""An X.509-SVID: what a workload proves its SPIFFE ID with.

Enters: the DER chain and PKCS#8 key of one SVID, as a Workload API gives them. Leaves: a frozen value whose
key, certificate and SPIFFE ID belong together. Whether the chain leads to a trusted authority is `verify`'s
question, not this module's. Pure: no I/O, no clock.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from spiffe_mcp.identity.spiffe_id import SpiffeId

SvidKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class X509Svid:
    """One X.509-SVID. `chain_der[0]` is the leaf; roots are never part of it (X509-SVID section 5)."""

    spiffe_id: SpiffeId
    chain_der: tuple[bytes, ...]
    key: SvidKey = field(repr=False)
    not_before: datetime
    not_after: datetime
    hint: str = ""
