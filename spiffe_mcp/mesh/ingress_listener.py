"""Ingress, the I/O: mutual-TLS connections in, admitted requests to the MCP server, filtered answers back.

What may pass is decided in `ingress`; here each phase is run, what it learned is recorded, and bytes move.
Every exchange leaves exactly one audit record, whatever ends it; so does every refused handshake.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from spiffe_mcp.audit import Caller, Draft, Side, recorded
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.http.server import ServerConnection
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.manifest import LiveView
from spiffe_mcp.mcp.capabilities import NOTHING, declared
from spiffe_mcp.mesh import headers, ingress, recording, relay
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.authorized import Authorized
from spiffe_mcp.mesh.behind import Behind
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.declining import Declining
from spiffe_mcp.mesh.exchange import Surroundings
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.listen import Closed
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.mesh.patience import Patience
from spiffe_mcp.mesh.reading import SessionEnd, lasts
from spiffe_mcp.mesh.recheck import looked_at_again
from spiffe_mcp.mesh.recording import HandshakeRecords
from spiffe_mcp.mesh.refusal import answer_refused
from spiffe_mcp.mesh.routes import IngressRoute, unknown_path
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.upstream import Upstream
from spiffe_mcp.policy import PolicyEngine
from spiffe_mcp.tls import HandshakeSlots, Peer, TlsProtocol, TlsSession

_SUCCESS: Final = range(200, 300)
_AT_A_TIME: Final = 32  # exchanges that are looked at again, before the loop turns


@dataclass(frozen=True, slots=True)
class Site:
    """What stands behind one ingress, and who may come. No other ingress of the agent has its `name`."""

    name: str
    routes: tuple[IngressRoute, ...]
    peers: AllowedIds
    policy: PolicyEngine
    environment: str
    recheck: timedelta


class _Server:
    """One MCP server behind the ingress, with what its exchanges remember."""

    def __init__(self, route: IngressRoute, site: Site, around: Surroundings, memory: Memory) -> None:
        self.upstream = Upstream(route, recheck=site.recheck, idle=around.capacity.idle)
        self.memory = memory
        self.declining = Declining(self.upstream.send)

    @property
    def route(self) -> IngressRoute:
        """The newest: a reload replaces it while exchanges wait."""
        return self.upstream.route

    def close(self) -> None:
        """End the idle connections, and what the server is told on its own."""
        self.declining.close()
        self.upstream.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """An exchange that was permitted, and has not ended."""

    permit: Permit
    server: _Server


class IngressListener:
    """Accepts connections from the mesh."""

    def __init__(self, around: Surroundings, site: Site) -> None:
        self.around = around
        self.site = site
        self.peers = Authorized(site.peers)
        self._slots = HandshakeSlots(around.capacity.handshakes)
        self._handshakes = HandshakeRecords(around.log)
        # Of every server that there ever was here, by the names that the operator gave: whoever takes one
        # off and puts it back opens no context again that was used.
        self._remembered: dict[bytes, Memory] = {}
        self.servers: Mapping[bytes, _Server] = {
            route.name.path: self._begun(route, site) for route in site.routes
        }
        self._remembered |= {path: server.memory for path, server in self.servers.items()}
        self.running: dict[_PeerService, _Running] = {}

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection; without an identity of our own there is none to be had."""
        try:
            self.current()
        except Refused:
            return Closed()
        return _Arrival(self).protocol(self._slots)

    def replacement(self, site: Site) -> Callable[[], None]:
        """Make `site` ready to be what stands here; returns what puts it in force, at once, and cannot fail.

        Raises `Refused` if it cannot be made ready; then nothing has changed. A server that has the same
        target keeps its connections and sessions; one that has another begins anew, but for the contexts that
        were used. Whoever puts it in force has the live connections looked at again, and calls `look_again`.
        """
        kept = {route.name.path: server for route in site.routes if (server := self._same(route)) is not None}
        anew = [route for route in site.routes if route.name.path not in kept]
        begun = {route.name.path: self._begun(route, site) for route in anew}
        going_on = [
            kept[route.name.path].upstream.replacement(route, site.recheck)
            for route in site.routes
            if route.name.path in kept
        ]

        def put_in_force() -> None:
            gone = [server for path, server in self.servers.items() if path not in kept]
            for go_on in going_on:
                go_on()
            self.site, self.servers = site, kept | begun
            self._remembered |= {path: server.memory for path, server in begun.items()}
            self.peers.allowed = site.peers
            for server in gone:
                server.close()

        return put_in_force

    async def look_again(self) -> None:
        """End each exchange that runs and would not be permitted now; the loop turns in between."""
        for number, (service, running) in enumerate(tuple(self.running.items()), start=1):
            if self.running.get(service) is running:
                service.look_again(running)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _same(self, route: IngressRoute) -> _Server | None:
        server = self.servers.get(route.name.path)
        return server if server is not None and server.route.upstream == route.upstream else None

    def _begun(self, route: IngressRoute, site: Site) -> _Server:
        """A server that is spoken to for the first time, at this target."""
        memory = Memory.of(site.name, str(route.name), self.around.tables)
        before = self._remembered.get(route.name.path)
        if before is not None:
            memory = replace(memory, replay=before.replay)
        return _Server(route, site, self.around, memory)

    def server_at(self, path: bytes) -> _Server:
        """The server whose MCP endpoint is `path`; raises `Refused(ROUTE_UNKNOWN)`."""
        server = self.servers.get(path)
        if server is None:
            raise unknown_path(path)
        return server

    def check_same(self, path: bytes, server: _Server) -> None:
        """Return if `server` still stands at `path`; raises `Refused`, as for one that is not there."""
        if self.server_at(path) is not server:
            # What this exchange has used up, a context or an answer, is in the other's memory.
            raise Refused(Reason.UPSTREAM_UNREACHABLE, "replaced by a reload meanwhile")

    def close(self) -> None:
        """End the idle connections to the servers."""
        for server in self.servers.values():
            server.close()

    def current(self) -> Snapshot:
        """Who this agent is now; raises `Refused(IDENTITY_UNAVAILABLE)`."""
        return self.around.snapshots.current(self.around.clock())

    def refused(self, address: object, refused: Refused, peer: Peer | None = None) -> None:
        """Nobody was let in, or somebody who was is so no more."""
        with suppress(Refused):  # refused already; a log that cannot be written counts its own gap
            self._handshakes.refused(address, refused, self.around.clock(), peer)


class _Arrival:
    """One handshake: shown is who we are when it begins, and asked who may come when it completes."""

    def __init__(self, listener: IngressListener) -> None:
        self._listener = listener
        self._around = listener.around
        self._own: Snapshot

    def protocol(self, slots: HandshakeSlots) -> TlsProtocol:
        """What runs it."""
        session = TlsSession(
            self._context, server_side=True, verify=self._around.live.verifier(self._listener.peers)
        )
        return TlsProtocol(session, on_secured=self._secured, on_refused=self._refused, slots=slots)

    def _context(self) -> ssl.SSLContext:
        self._own = self._listener.current()
        return self._own.tls.server_context

    def _secured(self, peer: Peer) -> ServerConnection:
        self._around.observer.handshake(Side.INGRESS, None)
        service = _PeerService(self._listener, peer)
        connection = service.connection
        not_after = self._own.identity.svid.not_after
        entry = self._around.live.opened(Side.INGRESS, peer, not_after, self._listener.peers, service)
        connection.when_lost(lambda: self._around.live.closed(entry))
        return connection

    def _refused(self, address: object, refused: Refused) -> None:
        self._around.observer.handshake(Side.INGRESS, refused)
        self._listener.refused(address, refused)


class _PeerConnection(ServerConnection):
    """A connection of a peer, which tells of its end."""

    _tell: Callable[[], None]

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the connection is gone."""
        self._tell = tell

    def connection_lost(self, exc: Exception | None) -> None:
        """As inside; and the connection is live no more."""
        self._tell()
        super().connection_lost(exc)


class _PeerService:
    """Answers the requests of one peer on one connection."""

    def __init__(self, listener: IngressListener, peer: Peer) -> None:
        self._listener = listener
        self._around = listener.around
        self._peer = peer
        self._address = ""  # once it is known: a connection keeps its peer's
        self._interruption = Interruption()
        self.connection = _PeerConnection(self._around.http, self)

    # -- mesh.live.Connection -------------------------------------------------------------------------------

    def drain(self) -> None:
        """The exchange that runs, or the one that comes, is the last."""
        self.connection.drain()

    def end(self, refused: Refused) -> None:
        """Who waits for an answer is told, and the connection closes."""
        self._interruption.interrupt(refused)
        self.connection.finish()

    def cut(self, refused: Refused) -> None:
        """At once. The record of the exchange that runs says why, or else one of its own."""
        if self._interruption.running:
            self._interruption.interrupt(refused)
        else:
            self._listener.refused(self.connection.peername, refused, self._peer)
        self.connection.abort()

    # -- http.Service ---------------------------------------------------------------------------------------

    def rejected(self, refused: Refused) -> None:
        """No request could be read."""
        # Refused already; a log that cannot be written counts its own gap.
        with suppress(Refused), recorded(self._around.log, self._draft(self._around.clock())) as record:
            record.refuse(refused)

    async def handle(self, request: Request, reply: Reply) -> None:
        """One exchange, one `now`, one snapshot, one record."""
        now = self._around.clock()
        try:
            self._address = self._address or recording.address(reply.peername)
            with recorded(self._around.log, self._draft(now)) as record, recording.timed(record, "total"):
                with self._interruption.possible():
                    # The look at all live connections takes its time; no request waits for it to be refused.
                    self._listener.peers.authorize(self._peer.spiffe_id)
                    running = await self._admit(request, record, now)
                    ending = await self._relay(running, reply, record)
                record.complete()
            await ending.send()
        except Refused as refused:
            await answer_refused(refused, request, reply)

    def _draft(self, now: datetime) -> Draft:
        record = recording.draft(Side.INGRESS, now)
        record.caller = Caller(peer_address=self._address, peer=str(self._peer.spiffe_id))
        return record

    async def _admit(self, request: Request, record: Draft, now: datetime) -> _Running:
        """The phases of `ingress`, in order; each is noted as soon as it has granted."""
        server, snapshot = self._listener.server_at(request.path), self._around.snapshots.current(now)
        inbound = ingress.read(request, server.route.minimum_era)
        recording.note_inbound(record, inbound, self._around.shown)
        authenticated = ingress.authenticate(
            inbound, peer=self._peer, snapshot=snapshot, memory=server.memory, now=now
        )
        recording.note_authenticated(record, authenticated)
        live = await server.upstream.live(now)
        # A reload may have come while it was waited for: what follows goes by what is in force now.
        site = self._listener.site
        self._listener.check_same(request.path, server)
        selected = ingress.select(authenticated, manifest=server.route.manifest, live=live, now=now)
        recording.note_selected(record, selected)
        decided = ingress.decide(selected, policy=site.policy, environment=site.environment, now=now)
        recording.note_decided(record, decided, site.policy)
        return _Running(ingress.permit(decided, server.route), server)

    async def _relay(self, running: _Running, reply: Reply, record: Draft) -> relay.Ending:
        """Until it has ended it may be looked at again."""
        self._listener.running[self] = running
        try:
            return await self._answered(running.permit, running.server, reply, record)
        finally:
            del self._listener.running[self]

    async def _answered(self, permit: Permit, server: _Server, reply: Reply, record: Draft) -> relay.Ending:
        with Patience(self._around.limits, self._interruption) as patience:
            async with await server.upstream.send(permit) as response:
                _follow_session(permit, response.head, server.memory, record.time)
                passing = filter_for(permit, response.head, self._behind(server, record))
                try:
                    with recording.timed(record, "answer"):
                        if not lasts(permit.authenticated.inbound.asked):
                            return await relay.pass_on(response, passing, reply, patience)
                        patience.last()
                        async with self._watched(permit, server):
                            return await relay.pass_on(response, passing, reply, patience)
                finally:
                    # A client that has its answer may leave a stream before its end: that cancels nothing.
                    if passing.answered:
                        record.complete()

    def look_again(self, running: _Running) -> None:
        """End the exchange that runs, if it would not be permitted now."""
        try:
            self._check_still(running.permit, running.server)
        except Refused as refused:
            self._interruption.interrupt(refused)

    def _watched(self, permit: Permit, server: _Server) -> AbstractAsyncContextManager[None]:
        """While inside, what `permit` permitted is decided again and again."""
        every = self._listener.site.recheck
        return looked_at_again(every, lambda: self._check_still(permit, server), self._interruption)

    def _check_still(self, permit: Permit, server: _Server) -> None:
        """By what is in force now; raises `Refused`."""
        site, newest = self._listener.site, self._listener.server_at(server.route.name.path)
        ingress.check_still(
            permit,
            manifest=newest.route.manifest,
            policy=site.policy,
            environment=site.environment,
            memory=newest.memory,
            now=self._around.clock(),
        )

    def _behind(self, server: _Server, record: Draft) -> Behind:
        """What answers of `server` are judged by; what is withheld of one stands in `record`."""

        def observe(page: LiveView) -> None:
            server.upstream.observed(page)
            recording.note_withheld(record, page)

        def decline(declined: Declined) -> None:
            recording.note_declined(record, declined)
            server.declining.begin(declined)

        return Behind(
            memory=server.memory,
            rules=lambda: self._listener.site,
            clock=self._around.clock,
            observe=observe,
            decline=decline,
            changed=server.upstream.changed,
        )


def _follow_session(permit: Permit, head: ResponseHead, memory: Memory, now: datetime) -> None:
    """Remember a legacy session that the server opened, and forget one that it ended."""
    authenticated = permit.authenticated
    call = authenticated.inbound.call
    for session in values(head.headers, headers.SESSION_ID):
        declares = declared(call.capabilities) if call is not None else NOTHING
        memory.sessions.opened(session, authenticated.owner, now, declares)
    ended = isinstance(authenticated.inbound.asked, SessionEnd) and head.status in _SUCCESS
    over = ended or head.status == HTTPStatus.NOT_FOUND
    if authenticated.session is not None and over:
        memory.sessions.ended(authenticated.session)
