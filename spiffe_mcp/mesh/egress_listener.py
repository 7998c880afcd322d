"""Egress, the I/O: requests of local workloads in, permitted calls out on hops, answers back as they come.

What may go out is decided in `egress`. Every exchange leaves exactly one audit record, whatever ends it.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, Self

from spiffe_mcp.audit import Draft, Side, recorded
from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request, Response
from spiffe_mcp.http.messages import Headers, values
from spiffe_mcp.http.server import ServerConnection
from spiffe_mcp.identity import AllowedIds, SpiffeId
from spiffe_mcp.mesh import egress, pins, recording, relay
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.authorized import Authorized
from spiffe_mcp.mesh.callers import LocalCaller
from spiffe_mcp.mesh.egress import ExchangeIds, OutboundCall, Proved
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.headers import SESSION_ID
from spiffe_mcp.mesh.hops import Destination, Hop
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.names import Names, is_literal
from spiffe_mcp.mesh.origin import check_origin
from spiffe_mcp.mesh.patience import Patience
from spiffe_mcp.mesh.pins import Pins, Session
from spiffe_mcp.mesh.reading import lasts
from spiffe_mcp.mesh.recording import ID_BYTES
from spiffe_mcp.mesh.refusal import answer_refused
from spiffe_mcp.mesh.routes import EgressRoute, unknown_path
from spiffe_mcp.mesh.snapshot import Snapshot

# Why the ingress of a session is not at its address any more: nobody is, or somebody else.
_GONE: Final = frozenset({Reason.UPSTREAM_UNREACHABLE, Reason.ID_NOT_AUTHORIZED})


@dataclass(frozen=True, slots=True)
class _Server:
    """One server that may be called, and who it has to be, as it is configured now."""

    route: EgressRoute
    authorized: Authorized

    @classmethod
    def of(cls, route: EgressRoute) -> Self:
        """As the configuration says it at the start."""
        return cls(route, Authorized(AllowedIds((route.server,))))


def _replaced(known: _Server | None, route: EgressRoute) -> _Server:
    """The server of `route`. One that is known stays the one whom live hops ask about."""
    if known is None:
        return _Server.of(route)
    known.authorized.allowed = AllowedIds((route.server,))
    return _Server(route, known.authorized)


class EgressListener:
    """Answers requests on local connections, each in the name of the caller that the connection has."""

    def __init__(self, around: Surroundings, routes: tuple[EgressRoute, ...], user: User) -> None:
        self.around = around
        self.user = user
        self.names = Names()
        self.pins = Pins(around.tables("egress pins", pins.CAPACITY, pins.VALUE_BYTES))
        self._servers: dict[bytes, _Server] = {route.name.path: _Server.of(route) for route in routes}

    def connection(self, caller: LocalCaller) -> ServerConnection:
        """The protocol of a new connection of `caller`."""
        return self.around.http.connection(_CallerService(self, caller))

    def replace(self, routes: tuple[EgressRoute, ...], user: User) -> None:
        """Let these be the servers, and `user` whom calls are for, from now on.

        Hops to a server that stays are kept, as far as it may be at their other end. Whoever calls this
        has the live connections looked at again: those to a server that is no more are cut then.
        """
        before = self._servers
        self.user = user
        self._servers = {route.name.path: _replaced(before.get(route.name.path), route) for route in routes}
        for path, gone in before.items():
            if path not in self._servers:
                gone.authorized.allowed = AllowedIds()

    def server_for(self, request: Request) -> _Server:
        """The server that `request` is for; raises `Refused`: ORIGIN_FORBIDDEN, ROUTE_UNKNOWN."""
        check_origin(request.headers)
        server = self._servers.get(request.path)
        if server is None:
            raise unknown_path(request.path)
        return server


class _CallerService:
    """Answers the requests of one caller on one connection."""

    def __init__(self, listener: EgressListener, caller: LocalCaller) -> None:
        self._listener = listener
        self._around = listener.around
        self._caller = caller
        self._interruption = Interruption()

    def rejected(self, refused: Refused) -> None:
        """No request could be read."""
        # Refused already; a log that cannot be written counts its own gap.
        with suppress(Refused), recorded(self._around.log, self._draft()) as record:
            record.refuse(refused)

    async def handle(self, request: Request, reply: Reply) -> None:
        """One exchange, one snapshot, one record."""
        try:
            with recorded(self._around.log, self._draft()) as record, recording.timed(record, "total"):
                ending = await self._exchange(request, reply, record)
                record.complete()
            await ending.send()
        except Refused as refused:
            await answer_refused(refused, request, reply)

    def _draft(self) -> Draft:
        record = recording.draft(Side.EGRESS, self._around.clock())
        record.caller = self._caller.described
        return record

    async def _leased(
        self, server: _Server, places: Collection[Address], request: Request, snapshot: Snapshot
    ) -> Hop:
        """A hop to where the request may go; raises `Refused`, SESSION_UNKNOWN where its session is lost."""
        session = _session(request.headers, snapshot.spiffe_id, server.route)
        now = self._around.clock()
        pinned = self._listener.pins.address(session, places, now) if session else None
        if pinned is None:
            return await self._caller.lease(Destination(tuple(places), server.authorized), snapshot)
        try:
            return await self._caller.lease(Destination((pinned,), server.authorized), snapshot)
        except Refused as refused:
            if refused.reason not in _GONE:
                raise
            # The client begins anew where an ingress answers; it is told so as if it had asked there.
            raise Refused(Reason.SESSION_UNKNOWN, f"its ingress: {refused.reason.code}") from None

    def _pin(
        self, route: EgressRoute, request: Request, response: Response, sent: OutboundCall, at: Address
    ) -> None:
        """Remember where a session was made; later answers may name it again, and say nothing new."""
        session = _session(response.head.headers, sent.snapshot.spiffe_id, route)
        if session and not values(request.headers, SESSION_ID):
            self._listener.pins.made(session, at, self._around.clock())

    async def _exchange(self, request: Request, reply: Reply, record: Draft) -> relay.Ending:
        server = self._listener.server_for(request)
        asked, user = egress.read(request, server.route.minimum_era), self._listener.user
        recording.note_outbound(record, asked, server.route, user, self._around.shown)
        snapshot = await self._caller.snapshot()
        with Patience(self._around.limits, self._interruption) as patience:
            places = await self._listener.names.located(server.route.addresses)
            async with await self._leased(server, places, request, snapshot) as hop:
                now = self._around.clock()  # after all waits: what is signed is signed now
                recording.note_passed_over(record, hop.passed_over)
                # By the newest list too: `route` is of the beginning, and a hop may not be cut yet.
                server.authorized.authorize(hop.server)
                permitted = egress.admit(
                    request,
                    asked,
                    route=server.route,
                    proved=Proved(hop.server, places[hop.address]),
                    user=user,
                    snapshot=snapshot,
                    ids=_fresh_ids(),
                    now=now,
                )
                recording.note_sent(record, permitted)
                async with await hop.send(permitted) as response:
                    self._pin(server.route, request, response, permitted, hop.address)
                    if lasts(asked):
                        patience.last()
                    return await relay.pass_on(response, relay.PassThrough(), reply, patience)


def _session(headers: Headers, caller: SpiffeId, route: EgressRoute) -> Session | None:
    """The session that `headers` name, of a server at which it matters where it was made."""
    if len(route.addresses) == 1 and is_literal(route.addresses[0]):
        return None
    named = values(headers, SESSION_ID)
    return Session(named[0], caller, route.name) if len(named) == 1 else None


def _fresh_ids() -> ExchangeIds:
    """Two names out of one draw: each draw is a system call."""
    drawn = token_hex(2 * ID_BYTES)
    return ExchangeIds(txn=drawn[: 2 * ID_BYTES], jti=drawn[2 * ID_BYTES :])
