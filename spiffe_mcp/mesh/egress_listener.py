"""Egress, the I/O: requests of local workloads in, permitted calls out on hops, answers back as they come.

What may go out is decided in `egress`. Every exchange leaves exactly one audit record, whatever ends it.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import uuid4

from spiffe_mcp.audit import Draft, Side, recorded
from spiffe_mcp.context import User
from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Reply, Request
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.mesh import egress, recording, relay
from spiffe_mcp.mesh.authorized import Authorized
from spiffe_mcp.mesh.egress import ExchangeIds
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Destination, Hops
from spiffe_mcp.mesh.origin import check_origin
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
        return cls(route, authorized, Destination(route.address, authorized))


class EgressListener:
    """Accepts connections from the workload that this agent speaks for, and answers their requests."""

    def __init__(self, around: Surroundings, routes: tuple[EgressRoute, ...], user: User) -> None:
        self._around = around
        self._servers: dict[bytes, _Server] = {route.name.path: _Server.of(route) for route in routes}
        self._user = user
        self._hops = Hops(around.live, around.observer, around.capacity.idle)

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return self._around.http.connection(self)

    def authorize(self, routes: tuple[EgressRoute, ...]) -> None:
        """Let the servers of these names be whom `routes` say from now on, and all others nobody.

        What else differs in them is left alone. Whoever calls this has the live connections looked at again.
        """
        patterns = {route.name.path: route.server for route in routes}
        for path, known in tuple(self._servers.items()):
            pattern = patterns.get(path)
            if pattern is None:
                known.authorized.allowed = AllowedIds()
                del self._servers[path]  # fail closed: no more calls; a new one by this name is a restart
            else:
                known.authorized.allowed = AllowedIds((pattern,))
                self._servers[path] = replace(known, route=replace(known.route, server=pattern))

    def close(self) -> None:
        """End the idle hops."""
        self._hops.close()

    def rejected(self, refused: Refused) -> None:
        """No request could be read."""
        # Refused already; a log that cannot be written counts its own gap.
        with (
            suppress(Refused),
            recorded(self._around.log, recording.draft(Side.EGRESS, self._around.clock())) as record,
        ):
            record.refuse(refused)

    async def handle(self, request: Request, reply: Reply) -> None:
        """One exchange, one `now`, one snapshot, one record."""
        now = self._around.clock()
        try:
            draft = recording.draft(Side.EGRESS, now)
            with recorded(self._around.log, draft) as record, recording.timed(record, "total"):
                ending = await self._exchange(request, reply, record, now)
                record.complete()
            await ending.send()
        except Refused as refused:
            await answer_refused(refused, request, reply)

    async def _exchange(self, request: Request, reply: Reply, record: Draft, now: datetime) -> relay.Ending:
        server, limits = self._server_for(request), self._around.limits
        call = egress.read(request)
        recording.note_outbound(record, call, server.route, self._user, self._around.shown)
        snapshot = self._around.snapshots.current(now)
        async with await relay.begun(self._hops.lease(server.destination, snapshot), limits) as hop:
            permitted = egress.admit(
                request,
                call,
                route=server.route,
                server=hop.server,
                user=self._user,
                snapshot=snapshot,
                ids=ExchangeIds(txn=str(uuid4()), jti=str(uuid4())),
                now=now,
            )
            recording.note_sent(record, permitted)
            async with await relay.begun(hop.send(permitted), limits) as response:
                return await relay.pass_on(response, relay.PassThrough(), reply, limits)

    def _server_for(self, request: Request) -> _Server:
        check_origin(request.headers)
        server = self._servers.get(request.path)
        if server is None:
            raise unknown_path(request.path)
        return server
