"""What one link says: who vouches to whom, for which user and workload, how far, for how long, to what end.

Enters: values to be signed, or the payload of a link whose signature was verified. Leaves: a frozen value
that keeps every rule a link can keep by itself, or its octets. Whether it is true here and now is
`verification`'s question. Claim names are those of JWT (RFC 7519), token exchange (RFC 8693: `act`, `scope`),
transaction tokens (`txn`), DPoP (RFC 9449: `htm`, `htu`) and proof of possession (RFC 7800: `cnf`).

Most of what a signer says it says again with every call: to whom, for which user, in whose name. These claims
are the `Standing` ones and come first, those of the single request are its `Particulars`. So octets that were
read once are not read again (`Link.read`), and octets that were written once are not written again
(`Standing.octets`); a link whose claims stand in another order is read all the same. Pure.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import orjson

from spiffe_mcp.context import base64url, claims
from spiffe_mcp.context.binding import BINDING_CLAIMS, RequestBinding
from spiffe_mcp.context.claims import MAX_LIST_ENTRIES, Claims, check_numeric_date, check_sha256, malformed
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.strict_json import JsonObject

_STANDING: Final = frozenset({"iss", "aud", "sub", "sub_iss", "user", "act", "scope", "cnf"})
_PARTICULARS: Final = frozenset({"txn", "jti", "iat", "exp"}).union(BINDING_CLAIMS)
_FIRST_PARTICULAR: Final = b',"txn":'
_REMEMBERED: Final = 256  # standing claims, at most 6 KB each

_TOKEN: Final = re.compile(r"[!-~]{1,128}")
_SCOPE_TOKEN: Final = re.compile(r"[!#-\[\]-~]{1,128}")  # RFC 6749 section 3.3


@dataclass(frozen=True, slots=True)
class Standing:
    """What a signer says with every link to one audience, for one user and workload.

    `scope` holds scope tokens (RFC 6749 section 3.3); an empty one grants nothing. `channel` is the SHA-256
    of the certificate that the signer presents on the TLS connection of its links: claim `cnf` with
    `x5t#S256` (RFC 8705 section 3.1).
    """

    issuer: SpiffeId
    audience: SpiffeId
    user: User
    caller: SpiffeId
    scope: tuple[str, ...]
    channel: bytes

    def __post_init__(self) -> None:
        if len(self.scope) > MAX_LIST_ENTRIES or not all(map(_SCOPE_TOKEN.fullmatch, self.scope)):
            malformed("scope", f"at most {MAX_LIST_ENTRIES} scope tokens of RFC 6749")
        check_sha256("cnf.x5t#S256", self.channel)

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """As `claims` say; raises `Refused` with the rule's `CONTEXT_CLAIM_*` reason."""
        # A nested `act` would be a chain that nobody signed (RFC 8693 section 4.1): refused as unknown.
        actor = claims.object("act").refuse_others_than(("sub",))
        scope = claims.text("scope")
        return cls(
            issuer=claims.spiffe_id("iss"),
            audience=claims.spiffe_id("aud"),
            user=User.from_claims(claims),
            caller=actor.spiffe_id("sub"),
            scope=tuple(scope.split(" ")) if scope else (),
            channel=claims.object("cnf").refuse_others_than(("x5t#S256",)).sha256("x5t#S256"),
        )

    def to_claims(self) -> JsonObject:
        """The claims `iss`, `aud`, those of the user, `act`, `scope` and `cnf`."""
        return {
            "iss": str(self.issuer),
            "aud": str(self.audience),
            **self.user.to_claims(),
            "act": {"sub": str(self.caller)},
            "scope": " ".join(self.scope),
            "cnf": {"x5t#S256": base64url.encode(self.channel).decode()},
        }

    def octets(self) -> bytes:
        """The JSON of these claims, in a form that is the beginning of a link's payload."""
        return orjson.dumps(self.to_claims())


@dataclass(frozen=True, slots=True)
class Particulars:
    """What a link says of its one request. `issued_at` and `expires` are whole seconds since 1970.

    `txn` stays the same from the first hop to the last; `jti` is the link's own name.
    """

    txn: str
    binding: RequestBinding
    jti: str
    issued_at: int
    expires: int

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.txn):
            malformed("txn", "1 to 128 visible ASCII characters")
        if not _TOKEN.fullmatch(self.jti):
            malformed("jti", "1 to 128 visible ASCII characters")
        check_numeric_date("iat", self.issued_at)
        check_numeric_date("exp", self.expires)
        if self.expires <= self.issued_at:
            raise Refused(Reason.CONTEXT_LIFETIME, "expires before it was issued")

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """As `claims` say; raises `Refused` with the reason of the rule that they break."""
        return cls(
            txn=claims.text("txn"),
            binding=RequestBinding.from_claims(claims),
            jti=claims.text("jti"),
            issued_at=claims.numeric_date("iat"),
            expires=claims.numeric_date("exp"),
        )

    def to_claims(self) -> JsonObject:
        """The claims `txn`, those of the binding, `jti`, `iat` and `exp`."""
        return {
            "txn": self.txn,
            **self.binding.to_claims(),
            "jti": self.jti,
            "iat": self.issued_at,
            "exp": self.expires,
        }

    def after(self, standing: bytes) -> bytes:
        """The payload of the link that begins with these octets of a `Standing`."""
        return standing[:-1] + b"," + orjson.dumps(self.to_claims())[1:]

    @property
    def lifetime(self) -> int:
        """From `issued_at` to `expires`, in seconds."""
        return self.expires - self.issued_at


@dataclass(frozen=True, slots=True)
class Link:
    """One link."""

    standing: Standing
    particulars: Particulars

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """The link that `payload` spells; raises `Refused`: CONTEXT_MALFORMED, CONTEXT_CLAIM_*, ..._LIFETIME.

        Where both halves of a payload are objects of claims, the whole is the object of all of them: JSON
        lets nothing in one half change what the other says, and no claim may stand in both. So a first half
        that was read before, with the rules that it has to keep, is known by its octets.
        """
        half = payload.find(_FIRST_PARTICULAR)
        if half > 0:
            try:
                said = Claims(claims.loads(b"{" + payload[half + 1 :])).refuse_others_than(_PARTICULARS)
                return cls(_standing(payload[:half] + b"}"), Particulars.from_claims(said))
            except Refused:
                pass  # read as a whole it has its own reason, or only another order
        return cls.from_claims(Claims(claims.loads(payload)))

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """The link that `claims` spell; raises `Refused` with the reason of the rule that they break."""
        claims.refuse_others_than(_STANDING | _PARTICULARS)
        return cls(Standing.from_claims(claims), Particulars.from_claims(claims))

    def to_claims(self) -> JsonObject:
        """All its claims."""
        return {**self.standing.to_claims(), **self.particulars.to_claims()}


@lru_cache(maxsize=_REMEMBERED)
def _standing(octets: bytes) -> Standing:
    """The standing claims that `octets` spell, and they alone; raises `Refused`."""
    return Standing.from_claims(Claims(claims.loads(octets)).refuse_others_than(_STANDING))
