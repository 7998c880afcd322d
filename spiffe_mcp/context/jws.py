"""One link as it stands in the header: a strict JWS in compact serialisation (RFC 7515 section 7.1).

Enters: the octets of a link. Leaves: its first part, unread, and its payload only to whoever verifies the
signature first. The JOSE header is closed: exactly `alg`, `typ` and `x5c`. A member that names another place
to find a key (`jku`, `x5u`, `jwk`, `kid`) or another way to read the rest (`crit`, `b64`, `zip`) is refused
unread. Pure; knows no claim and trusts no certificate: that is `verification`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import orjson

from spiffe_mcp.context import base64url, claims, jwa
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.svid import SvidKey

TYPE: Final = "mesh-uctx+jwt"  # explicit, so that no other JWT of this signer is one (RFC 8725 section 3.11)

_HEADER: Final = frozenset({"alg", "typ", "x5c"})
_PARTS: Final = 3


def encode_header(algorithm: str, chain_der: Sequence[bytes]) -> bytes:
    """The first part of every link signed with one SVID: `chain_der` without root, leaf first."""
    x5c = [base64url.encode_standard(certificate).decode() for certificate in chain_der]
    return base64url.encode(orjson.dumps({"alg": algorithm, "typ": TYPE, "x5c": x5c}))


def sign(header: bytes, payload: bytes, key: SvidKey) -> bytes:
    """A link: `header` as `encode_header` made it for the SVID of `key`, and the octets of the claims."""
    signing_input = header + b"." + base64url.encode(payload)
    return signing_input + b"." + base64url.encode(jwa.sign(key, signing_input))


@dataclass(frozen=True, slots=True)
class Jws:
    """A link that was taken apart and not verified. `header` is its first part as it came."""

    header: bytes
    _signing_input: bytes = field(repr=False)
    _payload: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, link: bytes) -> Self:
        """Take `link` apart; raises `Refused(CONTEXT_MALFORMED)`: not three parts of canonical base64url."""
        parts = link.split(b".")
        if len(parts) != _PARTS:
            raise Refused(Reason.CONTEXT_MALFORMED, f"{len(parts)} parts instead of {_PARTS}")
        header, payload, signature = parts
        signing_input = link[: -len(signature) - 1]
        return cls(header, signing_input, base64url.decode(payload), base64url.decode(signature))

    def open(self, key: jwa.VerifyingKey) -> bytes:
        """The payload, if `key` signed it; raises `Refused(CONTEXT_SIGNATURE)`."""
        jwa.check_signature(key, self._signing_input, self._signature)
        return self._payload


@dataclass(frozen=True, slots=True)
class JoseHeader:
    """What a sender says of its signature. `x5c` is its certificate chain, leaf first; nobody has looked."""

    algorithm: str
    x5c: tuple[bytes, ...]


def read_header(part: bytes) -> JoseHeader:
    """What the first part of a link says.

    Raises `Refused`: CONTEXT_MALFORMED (not canonical base64url, not strict JSON), CONTEXT_HEADER_FORBIDDEN,
    CONTEXT_TYPE, CONTEXT_ALGORITHM, CONTEXT_CERTIFICATE (nothing in `x5c`).
    """
    header = claims.loads(base64url.decode(part))
    if not header.keys() <= _HEADER:
        # Unnamed: the sender chose the name.
        raise Refused(Reason.CONTEXT_HEADER_FORBIDDEN, "a member other than alg, typ, x5c")
    if header.get("typ") != TYPE:
        raise Refused(Reason.CONTEXT_TYPE)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise Refused(Reason.CONTEXT_ALGORITHM, "no alg")
    x5c = header.get("x5c")
    if not isinstance(x5c, list) or not x5c:
        raise Refused(Reason.CONTEXT_CERTIFICATE, "no x5c")
    return JoseHeader(algorithm, tuple(map(_certificate, x5c)))


def _certificate(entry: object) -> bytes:
    if not isinstance(entry, str):
        raise Refused(Reason.CONTEXT_CERTIFICATE, "x5c is not a list of strings")
    # What is not ASCII becomes "?", which is not base64.
    return base64url.decode_standard(entry.encode("ascii", "replace"))
