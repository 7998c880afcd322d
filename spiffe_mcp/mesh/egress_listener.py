"""Egress, the I/O: requests of local workloads in, permitted calls out on hops, answers back as they come.

What may go out is decided in `egress`. Every exchange leaves exactly one audit record, whatever ends it.
"""

from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Self

from spiffe_mcp.audit import Draft, Side, recorded
from spiffe_mcp.context import User
from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Reply, Request
from spiffe_mcp.http.server import ServerConnection
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.mesh import egress, recording, relay
from spiffe_mcp.mesh.authorized import Authorized
from spiffe_mcp.mesh.callers import LocalCaller
from spiffe_mcp.mesh.egress import ExchangeIds, Proved
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Destination
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.origin import check_origin
from spiffe_mcp.mesh.patience import Patience
from spiffe_mcp.mesh.reading import lasts
from spiffe_mcp.mesh.recording import ID_BYTES
from spiffe_mcp.mesh.refusal import answer_refused
from spiffe_mcp.mesh.routes import EgressRoute, unknown_path


@dataclass(frozen=True, slots=True)
class _Server:
    """One server that may be called: who it has to be, as it is configured now, and where."""

    route: EgressRoute
    authorized: Authorized
    destination: Destination

    @classmethod
    def of(cls, route: EgressRoute) -> Self:
        """As the configuration says it at the start."""
        authorized = Authorized(AllowedIds((route.server,)))
        return cls(route, authorized, Destination(route.addresses, authorized))


def _replaced(known: _Server | None, route: EgressRoute) -> _Server:
    """The server of `route`. One that is known stays the one whom live hops ask about."""
    if known is None:
        return _Server.of(route)
    known.authorized.allowed = AllowedIds((route.server,))
    return _Server(route, known.authorized, Destination(route.addresses, known.authorized))


class EgressListener:
    """Answers requests on local connections, each in the name of the caller that the connection has."""

    def __init__(self, around: Surroundings, routes: tuple[EgressRoute, ...], user: User) -> None:
        self.around = around
        self.user = user
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

    async def _exchange(self, request: Request, reply: Reply, record: Draft) -> relay.Ending:
        server = self._listener.server_for(request)
        asked, user = egress.read(request, server.route.minimum_era), self._listener.user
        recording.note_outbound(record, asked, server.route, user, self._around.shown)
        snapshot = await self._caller.snapshot()
        now = self._around.clock()  # after the wait for an identity: what is signed is signed now
        with Patience(self._around.limits, self._interruption) as patience:
            async with await self._caller.lease(server.destination, snapshot) as hop:
                recording.note_passed_over(record, hop.passed_over)
                # By the newest list too: `route` is of the beginning, and a hop may not be cut yet.
                server.authorized.authorize(hop.server)
                permitted = egress.admit(
                    request,
                    asked,
                    route=server.route,
                    proved=Proved(hop.server, hop.address),
                    user=user,
                    snapshot=snapshot,
                    ids=_fresh_ids(),
                    now=now,
                )
                recording.note_sent(record, permitted)
                async with await hop.send(permitted) as response:
                    if lasts(asked):
                        patience.last()
                    return await relay.pass_on(response, relay.PassThrough(), reply, patience)


def _fresh_ids() -> ExchangeIds:
    """Two names out of one draw: each draw is a system call."""
    drawn = token_hex(2 * ID_BYTES)
    return ExchangeIds(txn=drawn[: 2 * ID_BYTES], jti=drawn[2 * ID_BYTES :])
