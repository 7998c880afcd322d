"""Signing a user context, for one request on one hop.

Enters: a delegation, the SVID that the hop presents, the audience and the request. Leaves: the value of the
header `Mesh-User-Context`. Pure: `now` and `jti` are arguments; the caller takes `jti` from a good source of
randomness and never uses one twice.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Self, TypeAlias

from spiffe_mcp.context import jwa, jws
from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.limits import DEFAULT_LIMITS, DEFAULT_TTL
from spiffe_mcp.context.link import Particulars, Standing
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.svid import SvidKey, X509Svid
from spiffe_mcp.recent import Recent

_REMEMBERED: Final = 256  # standing claims of one signer, at most 6 KB each


@dataclass(frozen=True, slots=True)
class Delegation:
    """For which user which workload acts, how far, and in which transaction: see `link`."""

    user: User
    caller: SpiffeId
    scope: tuple[str, ...]
    txn: str


_Whom: TypeAlias = tuple[SpiffeId, User, SpiffeId, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Signer:
    """One SVID, with everything computed that its links have in common.

    Build one for each SVID, and sign with that of the SVID that the outgoing connection presents: after a
    rotation an older connection still shows the older certificate.
    """

    issuer: SpiffeId
    channel: bytes  # SHA-256 of the leaf
    _header: bytes = field(repr=False)
    _key: SvidKey = field(repr=False)
    _written: Recent[_Whom, bytes] = field(
        default_factory=lambda: Recent(_REMEMBERED), repr=False, compare=False
    )

    @classmethod
    def of(cls, svid: X509Svid) -> Self:
        """The signer of `svid`; raises `Refused(CONTEXT_ALGORITHM)` for a key that no algorithm is for."""
        header = jws.encode_header(jwa.algorithm(svid.key), svid.chain_der)
        return cls(svid.spiffe_id, sha256(svid.chain_der[0]).digest(), header, svid.key)

    def standing(self, audience: SpiffeId, delegation: Delegation) -> bytes:
        """What this signer says with every link to `audience` for this user and caller; `Standing.octets`."""
        whom = audience, delegation.user, delegation.caller, delegation.scope
        known = self._written.get(whom)
        if known is not None:
            return known
        user, caller, scope = delegation.user, delegation.caller, delegation.scope
        said = Standing(self.issuer, audience, user, caller, scope, self.channel)
        return self._written.keep(whom, said.octets())

    def sign(self, payload: bytes) -> bytes:
        """The link of `payload` as it stands in the header."""
        return jws.sign(self._header, payload, self._key)


def mint(
    delegation: Delegation,
    *,
    signer: Signer,
    audience: SpiffeId,
    binding: RequestBinding,
    jti: str,
    now: datetime,
    ttl: timedelta = DEFAULT_TTL,
) -> str:
    """The value of the header `Mesh-User-Context`: one link, good from `now` for `ttl`.

    `audience` is the next hop. What no verifier would accept is not minted: raises `Refused`
    CONTEXT_LIFETIME, CONTEXT_TOO_LARGE or CONTEXT_CLAIM_MALFORMED.
    """
    if ttl > DEFAULT_LIMITS.max_lifetime:
        raise Refused(Reason.CONTEXT_LIFETIME, f"{ttl}, at most {DEFAULT_LIMITS.max_lifetime}")
    issued_at = int(now.timestamp())
    particulars = Particulars(delegation.txn, binding, jti, issued_at, issued_at + int(ttl.total_seconds()))
    header = signer.sign(particulars.after(signer.standing(audience, delegation)))
    if len(header) > DEFAULT_LIMITS.max_bytes:
        raise Refused(Reason.CONTEXT_TOO_LARGE, f"{len(header)} bytes, at most {DEFAULT_LIMITS.max_bytes}")
    return header.decode("ascii")
