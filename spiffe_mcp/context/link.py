"""What one link says: who vouches to whom, for which user and workload, how far, how long, for which request.

Enters: values to be signed, or claims of a payload whose signature was verified. Leaves: a frozen value that
keeps every rule a link can keep by itself, or its claims. Whether it is true here and now is `verification`'s
question. Claim names are those of JWT (RFC 7519), token exchange (RFC 8693: `act`, `scope`), transaction
tokens (`txn`), DPoP (RFC 9449: `htm`, `htu`) and proof of possession (RFC 7800: `cnf`). Pure.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.context import base64url
from spiffe_mcp.context.binding import BINDING_CLAIMS, RequestBinding
from spiffe_mcp.context.claims import MAX_LIST_ENTRIES, Claims, check_numeric_date, check_sha256, malformed
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.strict_json import JsonObject

_CLAIMS: Final = frozenset(
    {"iss", "aud", "sub", "sub_iss", "user", "act", "txn", "scope", "iat", "exp", "jti", "cnf"}
).union(BINDING_CLAIMS)

_TOKEN: Final = re.compile(r"[!-~]{1,128}")
_SCOPE_TOKEN: Final = re.compile(r"[!#-\[\]-~]{1,128}")  # RFC 6749 section 3.3


@dataclass(frozen=True, slots=True)
class Delegation:
    """For which user which workload acts, how far, and in which transaction.

    `scope` holds scope tokens (RFC 6749 section 3.3); an empty one grants nothing. `txn` stays the same from
    the first hop to the last.
    """

    user: User
    caller: SpiffeId
    scope: tuple[str, ...]
    txn: str

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.txn):
            malformed("txn", "1 to 128 visible ASCII characters")
        if len(self.scope) > MAX_LIST_ENTRIES or not all(map(_SCOPE_TOKEN.fullmatch, self.scope)):
            malformed("scope", f"at most {MAX_LIST_ENTRIES} scope tokens of RFC 6749")

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """The delegation that `claims` spell; raises `Refused` with the rule's `CONTEXT_CLAIM_*` reason."""
        # A nested `act` would be a chain that nobody signed (RFC 8693 section 4.1): refused as unknown.
        actor = claims.object("act").refuse_others_than(("sub",))
        scope = claims.text("scope")
        return cls(
            user=User.from_claims(claims),
            caller=actor.spiffe_id("sub"),
            scope=tuple(scope.split(" ")) if scope else (),
            txn=claims.text("txn"),
        )

    def to_claims(self) -> JsonObject:
        """The claims of the user, `act`, `scope` and `txn`."""
        return {
            **self.user.to_claims(),
            "act": {"sub": str(self.caller)},
            "scope": " ".join(self.scope),
            "txn": self.txn,
        }


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `issued_at` and `expires` are whole seconds since 1970.

    `channel` is the SHA-256 of the certificate that the signer presents on the TLS connection of this link:
    claim `cnf` with `x5t#S256` (RFC 8705 section 3.1).
    """

    issuer: SpiffeId
    audience: SpiffeId
    delegation: Delegation
    binding: RequestBinding
    channel: bytes
    jti: str
    issued_at: int
    expires: int

    def __post_init__(self) -> None:
        check_sha256("cnf.x5t#S256", self.channel)
        if not _TOKEN.fullmatch(self.jti):
            malformed("jti", "1 to 128 visible ASCII characters")
        check_numeric_date("iat", self.issued_at)
        check_numeric_date("exp", self.expires)
        if self.expires <= self.issued_at:
            raise Refused(Reason.CONTEXT_LIFETIME, "expires before it was issued")

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """The link that `claims` spell; raises `Refused` with the reason of the rule that they break."""
        claims.refuse_others_than(_CLAIMS)
        return cls(
            issuer=claims.spiffe_id("iss"),
            audience=claims.spiffe_id("aud"),
            delegation=Delegation.from_claims(claims),
            binding=RequestBinding.from_claims(claims),
            channel=claims.object("cnf").refuse_others_than(("x5t#S256",)).sha256("x5t#S256"),
            jti=claims.text("jti"),
            issued_at=claims.numeric_date("iat"),
            expires=claims.numeric_date("exp"),
        )

    def to_claims(self) -> JsonObject:
        """The claims of this link."""
        return {
            "iss": str(self.issuer),
            "aud": str(self.audience),
            **self.delegation.to_claims(),
            **self.binding.to_claims(),
            "cnf": {"x5t#S256": base64url.encode(self.channel).decode()},
            "jti": self.jti,
            "iat": self.issued_at,
            "exp": self.expires,
        }

    @property
    def lifetime(self) -> int:
        """From `issued_at` to `expires`, in seconds."""
        return self.expires - self.issued_at
