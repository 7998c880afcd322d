"""Egress, the decision: a local workload's request in, the call that may go out in its name out.

Pure: the listener does the I/O. The order of the steps is the order of the trust they build on:

 1. Who calls: the workload that the local connection is of (node), or the only one there is (sidecar). Either
    way the agent holds its SVID.
 2. What it asks: parsed strictly, the era decided.
 3. For which user: the configured one.
 4. What the workload says of identities is dropped: only listed headers pass.
 5. The link is signed, bound to the server that this hop has proved, to this SVID and to this request.
 6. An `OutboundCall` is granted; nothing can be sent on a hop without one.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from spiffe_mcp.context import Delegation, User, mint
from spiffe_mcp.http import Request
from spiffe_mcp.identity import AllowedIds, SpiffeId
from spiffe_mcp.mcp import Era, versions_from
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.hop_binding import hop_binding
from spiffe_mcp.mesh.reading import Asked, check_method, read_body
from spiffe_mcp.mesh.routes import EgressRoute
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.permit import GrantedOnly


@dataclass(frozen=True, slots=True)
class OutboundCall(metaclass=GrantedOnly):
    """A request that may be sent on a hop to `server`, by that snapshot's identity, and on no other."""

    route: EgressRoute
    server: SpiffeId
    snapshot: Snapshot
    request: Request
    txn: str


@dataclass(frozen=True, slots=True)
class Proved:
    """Who has proved to stand at the other end of a hop, and where that is."""

    server: SpiffeId
    address: Address


@dataclass(frozen=True, slots=True)
class ExchangeIds:
    """Fresh random names for one exchange; `jti` is never used twice."""

    txn: str
    jti: str


def read(request: Request, minimum: Era = Era.LEGACY) -> Asked:
    """(2) What `request` asks for, in no era before `minimum`.

    Raises `Refused`, each rule of `reading` and `mcp` with its own reason.
    """
    supported = versions_from(minimum)
    check_method(request, supported)
    return read_body(request, supported)


def admit(
    request: Request,
    asked: Asked,
    *,
    route: EgressRoute,
    proved: Proved,
    user: User,
    snapshot: Snapshot,
    ids: ExchangeIds,
    now: datetime,
) -> OutboundCall:
    """Steps 1 and 3 to 6 for a request that was read; raises `Refused`.

    `proved` is who stands at the other end of the hop. Nothing has been said to it yet.
    """
    # (1) One workload, one SVID: this identity is the caller's, and of nobody else.
    caller = snapshot.valid_at(now).spiffe_id
    # (4) Listed headers pass, and nothing else.
    bare = headers.forwarded(request, str(proved.address).encode(), route.name.path)
    # (3) and (5): for this user, by this SVID, to that server, with this request. The list may have become
    # shorter since the handshake.
    AllowedIds((route.server,)).authorize(proved.server)
    context = mint(
        Delegation(user=user, caller=caller, scope=(), txn=ids.txn),
        signer=snapshot.signer,
        audience=proved.server,
        binding=hop_binding(bare, asked),
        jti=ids.jti,
        now=now,
    )
    # (6) Sent with exactly one context, ours.
    signed = replace(bare, headers=(*bare.headers, (headers.USER_CONTEXT, context.encode())))
    return OutboundCall.granted(
        route=route, server=proved.server, snapshot=snapshot, request=signed, txn=ids.txn
    )
