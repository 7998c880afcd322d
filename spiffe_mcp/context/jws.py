"""One link as it stands in the header: a strict JWS in compact serialisation (RFC 7515 section 7.1).

Enters: the octets of a link. Leaves: its certificate chain, and its payload only to whoever verifies the
signature first. The JOSE header is closed: exactly `alg`, `typ` and `x5c`. A member that names another place
to find a key (`jku`, `x5u`, `jwk`, `kid`) or another way to read the rest (`crit`, `b64`, `zip`) is refused
unread. Pure; knows no claim and trusts no certificate: that is `verification`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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
    """A link that was taken apart and not verified. `x5c` is a claim of the sender's, leaf first."""

    algorithm: str
    x5c: tuple[bytes, ...]
    _signing_input: bytes = field(repr=False)
    _payload: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, link: bytes) -> Self:
        """Take `link` apart.

        Raises `Refused`: CONTEXT_MALFORMED (not three parts of canonical base64url, not strict JSON),
        CONTEXT_HEADER_FORBIDDEN, CONTEXT_TYPE, CONTEXT_ALGORITHM, CONTEXT_CERTIFICATE (nothing in `x5c`).
        """
        parts = link.split(b".")
        if len(parts) != _PARTS:
            raise Refused(Reason.CONTEXT_MALFORMED, f"{len(parts)} parts instead of {_PARTS}")
        algorithm, x5c = _read_header(parts[0])
        payload, signature = map(base64url.decode, parts[1:])
        return cls(algorithm, x5c, link[: link.rindex(b".")], payload, signature)

    def open(self, key: jwa.VerifyingKey) -> bytes:
        """The payload, if `key` signed it; raises `Refused` CONTEXT_ALGORITHM or CONTEXT_SIGNATURE."""
        # RFC 8725 section 3.1: the key allows one algorithm, and the header has to name that one.
        if self.algorithm != jwa.algorithm(key):
            raise Refused(Reason.CONTEXT_ALGORITHM, "not the algorithm of the certificate's key")
        jwa.check_signature(key, self._signing_input, self._signature)
        return self._payload


@lru_cache(maxsize=64)  # every link of one SVID has the same header
def _read_header(part: bytes) -> tuple[str, tuple[bytes, ...]]:
    """`alg` and `x5c` of a JOSE header. Only what was read whole is kept; refusals are found anew."""
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
    return algorithm, tuple(map(_certificate, x5c))


def _certificate(entry: object) -> bytes:
    if not isinstance(entry, str):
        raise Refused(Reason.CONTEXT_CERTIFICATE, "x5c is not a list of strings")
    # What is not ASCII becomes "?", which is not base64.
    return base64url.decode_standard(entry.encode("ascii", "replace"))
