"""Hops: pooled mutual-TLS connections, one pool for each (local SVID, server's address and name).

A pooled connection has proved which server it leads to, with which SVID of ours. A hop is leased first, so
that the call can be signed for the very server at its other end; only a call that names that server, and was
signed by that SVID, is sent on it. When the SVID rotates, its pools are retired: requests that are running
end in their own time, new ones handshake anew.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import random
from types import TracebackType
from typing import Final, Self

from spiffe_mcp.audit import Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, Response
from spiffe_mcp.http.client import ClientConnection, Lease
from spiffe_mcp.http.pool import IdleRoom
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.capacity import IDLE
from spiffe_mcp.mesh.egress import OutboundCall
from spiffe_mcp.mesh.ejections import Ejections
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Observer
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.tcp import open_tcp
from spiffe_mcp.tls import Authorization, Peer, TlsIdentity, TlsProtocol

MOST_POOLS: Final = 1024  # of one workload


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a hop leads: addresses, the preferred one first, and who may answer there."""

    addresses: tuple[Address, ...]
    allowed: Authorization


@dataclass(frozen=True, slots=True)
class _Place:
    """One address. Who is somebody else to one server may be the right one to another."""

    address: Address
    allowed: Authorization


@dataclass(frozen=True, slots=True)
class _Key:
    local: TlsIdentity
    place: _Place


class Hops:
    """All pools of one egress."""

    def __init__(
        self,
        live: LiveConnections,
        observer: Observer,
        idle: int = IDLE,
        room: IdleRoom | None = None,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._live = live
        self._observer = observer
        self._idle = idle  # hops that are kept in each pool
        self._room = room  # and in all pools together, also those of other workloads
        self._pools: dict[_Key, HttpClient] = {}
        self._ejections: Ejections[_Place] = Ejections()
        self._jitter = jitter  # from 0 to 1: agents do not come back to a server all at once

    async def lease(self, destination: Destination, snapshot: Snapshot) -> "Hop":
        """A hop, its server proved and nothing said on it; raises `Refused` with why it could not be made.

        Each address is tried at most once, and only while nothing was said anywhere: no call was signed yet,
        so none is signed or sent twice. Where all fail, the refusal is that of the address tried first.
        """
        places = tuple(_Place(address, destination.allowed) for address in destination.addresses)
        clock, first = asyncio.get_running_loop().time, None
        passed_over: dict[Address, Reason] = {}
        for place in self._ejections.order(places, clock()):
            try:
                lease = await self._lease_at(place, snapshot)
            except Refused as refused:  # it is not there, or somebody else is
                self._ejections.failed(place, clock(), self._jitter())
                self._observer.address_failed(refused)
                first = first or refused
                passed_over[place.address] = refused.reason
            else:
                self._ejections.succeeded(place)
                return Hop(lease, snapshot, place.address, passed_over)
        raise first or Refused(Reason.UPSTREAM_UNREACHABLE, "no address")

    async def _lease_at(self, place: _Place, snapshot: Snapshot) -> Lease:
        key = _Key(snapshot.tls, place)
        pool = self._pools.get(key)
        if pool is None:
            self._retire_others(key.local)
            self._retire_oldest()
            pool = self._pools[key] = HttpClient(
                lambda: self._connect(key), max_idle=self._idle, room=self._room
            )
        return await pool.lease()

    def close(self) -> None:
        """End all idle connections and keep no new ones."""
        for pool in self._pools.values():
            pool.retire()
        self._pools.clear()

    def _retire_oldest(self) -> None:
        """Names come to stand for other addresses: those of the past are not kept for ever."""
        while len(self._pools) >= MOST_POOLS:
            self._pools.pop(next(iter(self._pools))).retire()

    def _retire_others(self, current: TlsIdentity) -> None:
        for key in [key for key in self._pools if key.local is not current]:
            self._pools.pop(key).retire()

    async def _connect(self, key: _Key) -> ClientConnection:
        """A connection whose server has proved to be one of those that are allowed there."""
        loop = asyncio.get_running_loop()
        secured: asyncio.Future[ClientConnection] = loop.create_future()
        allowed, own = key.place.allowed, key.local

        def on_secured(peer: Peer) -> ClientConnection:
            connection = _HopConnection(peer, self._observer)
            not_after = own.state.svid.not_after
            entry = self._live.opened(Side.EGRESS, peer, not_after, allowed, connection)
            connection.when_lost(lambda: self._live.closed(entry))
            if not secured.done():
                secured.set_result(connection)
            return connection

        def on_refused(_: object, refused: Refused) -> None:
            self._observer.handshake(Side.EGRESS, refused)
            if not secured.done():
                secured.set_exception(refused)

        def protocol() -> TlsProtocol:
            session = own.dial(self._live.verifier(allowed))
            return TlsProtocol(session, on_secured=on_secured, on_refused=on_refused)

        hop = await open_tcp(key.place.address, protocol)
        try:
            return await secured
        except asyncio.CancelledError:
            hop.abort()
            raise


class Hop:
    """A leased hop: a context in which at most one call is sent to the server at its other end."""

    def __init__(
        self, lease: Lease, snapshot: Snapshot, address: Address, passed_over: Mapping[Address, Reason]
    ) -> None:
        self.address = address
        self.passed_over = passed_over  # addresses that were tried before, and why it is not there
        self._lease: Lease | None = lease
        self._snapshot = snapshot
        self._connection = lease.connection

    @property
    def server(self) -> SpiffeId:
        """Who has proved to be there."""
        assert isinstance(self._connection, _HopConnection)  # noqa: S101  `Hops` makes no others
        return self._connection.peer.spiffe_id

    async def send(self, call: OutboundCall) -> Response:
        """Send the permitted call; raises `Refused` with what became of the hop.

        Raises ValueError for a call that was permitted for another server, or signed by another SVID: its
        context would be the wrong one, and its content for other eyes.
        """
        if call.server != self.server or call.snapshot is not self._snapshot or self._lease is None:
            raise ValueError("a call for another hop")
        lease, self._lease = self._lease, None
        return await lease.send(call.request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lease is not None:  # nothing was sent: the next call may have it
            self._lease.release()


class _HopConnection(ClientConnection):
    """A connection to a server of the mesh, which tells how its handshake ended, and of its own end.

    In TLS 1.3 our handshake completes before the server has judged us. Whether it has let us in shows with
    the first thing that it says, so this is when the handshake is reported.
    """

    def __init__(self, peer: Peer, observer: Observer) -> None:
        super().__init__()
        self.peer = peer
        self._observer = observer
        self._admitted = False
        self._lost_callback: Callable[[], None] = _nothing

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the connection is gone."""
        self._lost_callback = tell

    def end(self, refused: Refused) -> None:
        """Its time is over. Whoever still waits for an answer is told by who asked."""
        self.cut(refused)

    def data_received(self, data: bytes) -> None:
        """As inside; the first of it means that the server has let us in."""
        if not self._admitted:
            self._admitted = True
            self._observer.handshake(Side.EGRESS, None)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """As inside; and the connection is live no more."""
        self._lost_callback()
        if isinstance(exc, Refused) and exc.reason is Reason.TLS_REJECTED:
            self._observer.handshake(Side.EGRESS, exc)
        super().connection_lost(exc)


def _nothing() -> None:
    """Nobody wants to know."""
