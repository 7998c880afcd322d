"""Whether a user context is true of this request, on this connection, now.

Enters: the header's value, the hop it came on, the request it came with, whose signatures count, and `now`.
Leaves: a `VerifiedContext`, which nothing else can make, or a refusal with the reason of the rule that was
broken.

What the caller still has to do, because it needs more than this header: refuse a request that has no such
header (CONTEXT_MISSING) or several of it (CONTEXT_MALFORMED), and ask a `ReplayGuard` about the result.
Pure; reads no clock, and keeps no state but what `signers` keeps.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.jws import Jws
from spiffe_mcp.context.limits import DEFAULT_LIMITS, LINK_SEPARATOR, ContextLimits
from spiffe_mcp.context.link import Link, Particulars, Standing
from spiffe_mcp.context.signers import TrustedSigner, TrustedSigners
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import AllowedIds, SpiffeId
from spiffe_mcp.permit import GrantedOnly


@dataclass(frozen=True, slots=True)
class InboundHop:
    """One mutual-TLS connection as the side sees it that accepted it.

    `peer` and `leaf_der` are the client's, from the handshake that verified them; `audience` is the ID that
    this side presented. `vouched_for` are the workloads that the peer may speak for besides itself, as the
    mesh agent of a node does for the workloads it attested: nobody, unless configuration says so.
    """

    peer: SpiffeId
    leaf_der: bytes = field(repr=False)
    audience: SpiffeId
    vouched_for: AllowedIds = field(default_factory=AllowedIds)


@dataclass(frozen=True, slots=True)
class VerifiedContext(metaclass=GrantedOnly):
    """A user context that holds for the request it came with. Only `verify` makes one.

    `caller` is the workload that acts for `user`; `chain` is every workload the call passed through, oldest
    first, `caller` last; `issuer` vouches for all this and is the TLS peer. From `expires` on (the link's
    `exp` plus the clock skew) `verify` refuses the same header: until then a replay guard remembers `jti`.
    """

    caller: SpiffeId
    chain: tuple[SpiffeId, ...]
    user: User
    txn: str
    jti: str
    issuer: SpiffeId
    expires: datetime
    scope: tuple[str, ...]

    @classmethod
    def _of(cls, links: list[Link], limits: ContextLimits) -> Self:
        standing, particulars = links[-1].standing, links[-1].particulars
        return cls.granted(
            caller=standing.caller,
            chain=tuple(link.standing.caller for link in links),
            user=links[0].standing.user,
            txn=particulars.txn,
            jti=particulars.jti,
            issuer=standing.issuer,
            expires=datetime.fromtimestamp(particulars.expires, UTC) + limits.clock_skew,
            scope=standing.scope,
        )


def verify(
    header: str | bytes,
    *,
    hop: InboundHop,
    binding: RequestBinding,
    signers: TrustedSigners,
    now: datetime,
    limits: ContextLimits = DEFAULT_LIMITS,
) -> VerifiedContext:
    """What `header`, the value of `Mesh-User-Context`, proves of the request that `binding` describes.

    Raises `Refused` with a `CONTEXT_*` reason, and nothing else, whatever the header's octets are.

    1. Size and form: one link within the limits, three canonical parts, a closed JOSE header (`jws`).
    2. The chain in `x5c` leads to the bundle of the signer's own trust domain, and its key has one algorithm
       (`signers`).
    3. The signature, by that key.
    4. The claims: strict JSON, a closed set, all of them there and well-formed (`link`).
    5. `iss` is the SPIFFE ID of the certificate.
    6. The signer is the TLS peer: same ID, same certificate, and `cnf` says so.
    7. `aud` is this side of the connection.
    8. Time: short-lived by its own word, issued, not expired.
    9. `act` is the signer, or a workload that the signer may vouch for.
    10. The request is the one that was signed.
    """
    signed = [Jws.parse(link) for link in _split(header, limits)]
    by = [signers.of(jws.header, now) for jws in signed]  # (2)
    links = [_open(jws, signer) for jws, signer in zip(signed, by, strict=True)]
    last = links[-1]
    _check_signer(last.standing, by[-1], hop)
    if last.standing.audience != hop.audience:  # (7)
        raise Refused(Reason.CONTEXT_AUDIENCE, f"meant for {last.standing.audience}")
    _check_time(last.particulars, now, limits)
    _check_actor(last.standing, hop.vouched_for)
    last.particulars.binding.check(binding)  # (10)
    return VerifiedContext._of(links, limits)  # noqa: SLF001  the only producer


def _split(header: str | bytes, limits: ContextLimits) -> list[bytes]:
    # (1) What is not ASCII becomes "?", which is in no base64url.
    octets = header.encode("ascii", "replace") if isinstance(header, str) else header
    if len(octets) > limits.max_bytes:
        raise Refused(Reason.CONTEXT_TOO_LARGE, f"{len(octets)} bytes, at most {limits.max_bytes}")
    links = octets.split(LINK_SEPARATOR)
    # Fail closed: a longer chain would need its links checked against each other.
    if len(links) > 1:
        raise Refused(Reason.CONTEXT_CHAIN_UNSUPPORTED, f"{len(links)} links")
    return links


def _open(jws: Jws, signer: TrustedSigner) -> Link:
    # (3) Nothing of the payload is read before this.
    payload = jws.open(signer.key)
    # (4) Strict, closed, complete.
    link = Link.read(payload)
    # (5) X.509 says who signed, not the claim.
    if link.standing.issuer != signer.spiffe_id:
        raise Refused(Reason.CONTEXT_ISSUER_MISMATCH, f"signed by {signer.spiffe_id}")
    return link


def _check_signer(said: Standing, signer: TrustedSigner, hop: InboundHop) -> None:
    # (6) A context is worth nothing to whoever finds it: it holds on the signer's own connection only.
    if said.issuer != hop.peer:
        raise Refused(Reason.CONTEXT_PEER_MISMATCH, f"issued by {said.issuer}, presented by {hop.peer}")
    if signer.leaf_der != hop.leaf_der:
        raise Refused(Reason.CONTEXT_SIGNER_MISMATCH, "x5c is not the certificate of the connection")
    # RFC 8705 section 3.1
    if said.channel != signer.thumbprint:
        raise Refused(Reason.CONTEXT_CHANNEL, "cnf is not the certificate of the connection")


def _check_time(said: Particulars, now: datetime, limits: ContextLimits) -> None:
    # (8) RFC 7519 sections 4.1.4 and 4.1.6.
    if said.lifetime > limits.max_lifetime.total_seconds():
        raise Refused(Reason.CONTEXT_LIFETIME, f"{said.lifetime} s, at most {limits.max_lifetime}")
    instant, skew = now.timestamp(), limits.clock_skew.total_seconds()
    if said.issued_at > instant + skew:
        raise Refused(Reason.CONTEXT_NOT_YET_VALID)
    if said.expires <= instant - skew:
        raise Refused(Reason.CONTEXT_EXPIRED)


def _check_actor(said: Standing, vouched_for: AllowedIds) -> None:
    # (9) Fail closed: without an explicit allowance a signer speaks for itself.
    if said.caller == said.issuer:
        return
    try:
        vouched_for.authorize(said.caller)
    except Refused:
        raise Refused(Reason.CONTEXT_ACTOR, f"{said.issuer} may not vouch for {said.caller}") from None
