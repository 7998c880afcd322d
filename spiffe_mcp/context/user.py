"""The user on whose behalf a call is made, as far as policy needs to know.

Enters: what a validated token said of the user, or the claims of a verified link. Leaves: a frozen value,
bounded in every dimension, and its claims. `sub` and `sub_iss` stand beside the other claims of a link
(RFC 8693 section 4.1 reads `sub` and `act` together); everything else stands under one member `user`, so that
no attribute of an identity provider's can ever be taken for a claim of the protocol. An attribute that is not
one of these fields is refused, never carried: what policy cannot read has no business on the wire.
Pure; knows no token and no identity provider.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

import orjson

from spiffe_mcp.context.claims import Claims, check_numeric_date, check_text, check_texts, malformed
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject

MAX_USER_BYTES: Final = 4096
# Whatever the deployment's scale is: this holds 0 to 1 and 0 to 100, the two in use.
MAX_RISK_SCORE: Final = 100


@dataclass(frozen=True, slots=True, repr=False)  # without repr: a user's attributes are not for logs
class User:
    """A user: the subject `sub` that the identity provider `sub_iss` asserted, and what is known of it.

    `auth_time` is in whole seconds since 1970 (OpenID Connect Core section 2). Raises
    `Refused(CONTEXT_CLAIM_MALFORMED)`, or `Refused(CONTEXT_TOO_LARGE)` over `MAX_USER_BYTES` of JSON.
    """

    sub: str
    sub_iss: str
    groups: tuple[str, ...] = ()
    department: str | None = None
    role: str | None = None
    clearance: str | None = None
    session: str | None = None
    purpose: str | None = None
    task: str | None = None
    approvals: tuple[str, ...] = ()
    acr: str | None = None
    amr: tuple[str, ...] = ()
    auth_time: int | None = None
    risk_score: float | None = None
    data_classification: str | None = None
    compliance_frameworks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _NAMES:
            value = getattr(self, name)
            if isinstance(value, str):
                check_text(name, value)
            elif isinstance(value, tuple):
                check_texts(name, value)
        if self.auth_time is not None:
            check_numeric_date("auth_time", self.auth_time)
        if self.risk_score is not None and not 0 <= self.risk_score <= MAX_RISK_SCORE:
            malformed("risk_score", f"a number from 0 to {MAX_RISK_SCORE}")
        size = len(orjson.dumps(self.to_claims()))
        if size > MAX_USER_BYTES:
            raise Refused(Reason.CONTEXT_TOO_LARGE, f"user of {size} bytes, at most {MAX_USER_BYTES}")

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """The user of a link's claims; raises `Refused` with the `CONTEXT_CLAIM_*` reason of the rule."""
        attributes = claims.object("user").refuse_others_than(_ATTRIBUTES)
        return cls(
            sub=claims.text("sub"),
            sub_iss=claims.text("sub_iss"),
            groups=attributes.optional_texts("groups"),
            department=attributes.optional_text("department"),
            role=attributes.optional_text("role"),
            clearance=attributes.optional_text("clearance"),
            session=attributes.optional_text("session"),
            purpose=attributes.optional_text("purpose"),
            task=attributes.optional_text("task"),
            approvals=attributes.optional_texts("approvals"),
            acr=attributes.optional_text("acr"),
            amr=attributes.optional_texts("amr"),
            auth_time=attributes.optional_numeric_date("auth_time"),
            risk_score=attributes.optional_number("risk_score"),
            data_classification=attributes.optional_text("data_classification"),
            compliance_frameworks=attributes.optional_texts("compliance_frameworks"),
        )

    def to_claims(self) -> JsonObject:
        """The claims `sub`, `sub_iss` and `user`."""
        return {"sub": self.sub, "sub_iss": self.sub_iss, "user": self.attributes()}

    def attributes(self) -> JsonObject:
        """All but `sub` and `sub_iss`, as JSON; what is not known is left out."""
        known = ((name, getattr(self, name)) for name in _ATTRIBUTES)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in known
            if value not in (None, ())
        }


_NAMES: Final = tuple(field.name for field in fields(User))
_ATTRIBUTES: Final = tuple(name for name in _NAMES if name not in {"sub", "sub_iss"})
