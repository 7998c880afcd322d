"""Egress, the I/O: requests of local workloads in, permitted calls out on hops, answers back as they come.

What may go out is decided in `egress`. Every exchange leaves exactly one audit record, whatever ends it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from uuid import uuid4

from spiffe_mcp.audit import Draft, Side, recorded
from spiffe_mcp.context import User
from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Reply, Request
from spiffe_mcp.mesh import egress, recording, relay
from spiffe_mcp.mesh.egress import ExchangeIds, OutboundCall
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.hops import Hops
from spiffe_mcp.mesh.origin import check_origin
from spiffe_mcp.mesh.refusal import answer_refused
from spiffe_mcp.mesh.routes import EgressRoute, unknown_path


class EgressListener:
    """Accepts connections from the workload that this agent speaks for, and answers their requests."""

    def __init__(self, around: Surroundings, routes: tuple[EgressRoute, ...], user: User) -> None:
        self._around = around
        self._routes: Mapping[bytes, EgressRoute] = {route.name.path: route for route in routes}
        self._user = user
        self._hops = Hops()

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return self._around.http.connection(self)

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
                call = self._admit(request, record, now)
                async with await relay.begun(self._hops.send(call), self._around.limits) as response:
                    ending = await relay.pass_on(response, relay.PassThrough(), reply, self._around.limits)
                record.complete()
            await ending.send()
        except Refused as refused:
            await answer_refused(refused, request, reply)

    def _admit(self, request: Request, record: Draft, now: datetime) -> OutboundCall:
        check_origin(request.headers)
        route = self._routes.get(request.path)
        if route is None:
            raise unknown_path(request.path)
        call = egress.read(request)
        recording.note_outbound(record, call, route, self._user, self._around.shown)
        permitted = egress.admit(
            request,
            call,
            route=route,
            user=self._user,
            snapshot=self._around.snapshots.current(now),
            ids=ExchangeIds(txn=str(uuid4()), jti=str(uuid4())),
            now=now,
        )
        recording.note_sent(record, permitted)
        return permitted
