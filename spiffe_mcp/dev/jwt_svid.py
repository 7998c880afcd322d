"""JWT-SVIDs of the dev mesh: a SPIFFE ID and an audience in, a token out, and back again.

Enters: SPIFFE IDs, audiences, tokens from workloads (hostile), `now`. Leaves: ES256 tokens, public keys,
verified claims, or `Refused` with the reason `JWT_SVID_*` of the rule that failed, for any token whatever.
Pure apart from the signature's own randomness: no I/O, no clock. Knows nothing of gRPC and of who asks.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.types import Options
from jwt.utils import base64url_encode

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import jwk
from spiffe_mcp.identity.spiffe_bundle import JwtKey
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain

MAX_TOKEN_BYTES: Final = 16 * 1024

_ALGORITHM: Final = "ES256"
_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_TYPES: Final = frozenset({None, "JWT", "JOSE"})
# Signature only: the claims are checked below, against `now`, where PyJWT would read the clock.
_SIGNATURE_ONLY: Final[Options] = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}

Claims: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class JwtAuthority:
    """A key that signs the JWT-SVIDs of one trust domain."""

    trust_domain: TrustDomain
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, trust_domain: TrustDomain) -> Self:
        """A new P-256 key."""
        return cls(trust_domain, ec.generate_private_key(ec.SECP256R1()))

    @property
    def key_id(self) -> str:
        """The key's thumbprint (RFC 7638): the same key has the same name wherever it is shown."""
        required = jwk.write(self.key.public_key())
        canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
        return base64url_encode(hashlib.sha256(canonical.encode()).digest()).decode()

    @property
    def public(self) -> JwtKey:
        """The key as it stands in a bundle."""
        return JwtKey(self.key_id, self.key.public_key())

    def sign(self, spiffe_id: SpiffeId, audience: Sequence[str], *, now: datetime, ttl: timedelta) -> str:
        """A JWT-SVID of `spiffe_id` for `audience` (JWT-SVID sections 2 and 3).

        Raises `Refused(DEV_FOREIGN_TRUST_DOMAIN)` for an ID of another trust domain,
        `Refused(JWT_SVID_AUDIENCE)` for no audience.
        """
        if spiffe_id.trust_domain != self.trust_domain:
            raise Refused(Reason.DEV_FOREIGN_TRUST_DOMAIN, str(spiffe_id))
        if not audience or not all(audience):
            raise Refused(Reason.JWT_SVID_AUDIENCE, "audience must be specified")
        claims = {"sub": str(spiffe_id), "aud": list(audience), "iat": now, "exp": now + ttl}
        return jwt.encode(claims, self.key, _ALGORITHM, headers={"kid": self.key_id})


def verify(token: str, audience: str, authorities: Iterable[JwtAuthority], *, now: datetime) -> Claims:
    """The claims of `token`, if one of `authorities` signed it for `audience` and it is still valid at `now`.

    `aud` of the result is always a list. Raises `Refused(JWT_SVID_*)`, one reason for each step.
    """
    # 1. The header names a key of the bundle, and nothing that could change its use (JWT-SVID section 2).
    authority = _authority_named_by(token, authorities)
    # 2. That key signed the token, with the one algorithm it is for (JWT-SVID section 4).
    claims = _signed_claims(token, authority)
    # 3. The subject is a workload of the key's own trust domain (JWT-SVID section 3.1).
    _demand_subject(claims, authority.trust_domain)
    # 4. The token is meant for this audience (JWT-SVID section 3.2).
    named = claims.get("aud")
    claims["aud"] = [named] if isinstance(named, str) else named
    if not isinstance(claims["aud"], list) or audience not in claims["aud"]:
        raise Refused(Reason.JWT_SVID_AUDIENCE, "not meant for this audience")
    # 5. It has not expired; without an expiry it never was valid (JWT-SVID section 3.3).
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float) or not now.timestamp() < expiry:
        raise Refused(Reason.JWT_SVID_EXPIRED, "expired, or without an expiry")
    return claims


def _authority_named_by(token: str, authorities: Iterable[JwtAuthority]) -> JwtAuthority:
    if len(token) > MAX_TOKEN_BYTES:
        raise Refused(Reason.JWT_SVID_MALFORMED, f"longer than {MAX_TOKEN_BYTES} bytes")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused(Reason.JWT_SVID_MALFORMED, "not a compact JWS") from None
    if not _HEADERS.issuperset(header) or header.get("typ") not in _TYPES:
        raise Refused(Reason.JWT_SVID_MALFORMED, "headers other than alg, kid and typ")
    if header.get("alg") != _ALGORITHM:
        raise Refused(Reason.JWT_SVID_ALGORITHM, f"only {_ALGORITHM} is signed with")
    for authority in authorities:
        if authority.key_id == header.get("kid"):
            return authority
    raise Refused(Reason.JWT_SVID_KEY_UNKNOWN, "no such key in the bundle")


def _signed_claims(token: str, authority: JwtAuthority) -> Claims:
    try:
        return jwt.decode(token, authority.key.public_key(), [_ALGORITHM], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused(Reason.JWT_SVID_SIGNATURE, "signature does not verify") from None


def _demand_subject(claims: Claims, trust_domain: TrustDomain) -> None:
    try:
        subject = SpiffeId.parse(str(claims.get("sub")))
    except Refused as refused:
        raise Refused(Reason.JWT_SVID_SUBJECT, refused.detail) from None
    if subject.trust_domain != trust_domain:
        raise Refused(Reason.JWT_SVID_SUBJECT, f"{subject} is not of {trust_domain}")
