"""Local connections on a node: each is attested before a byte of it is read, and belongs to one workload.

Enters: accepted connections of a Unix socket. Leaves: connections of the egress, each for the workload whose
process the kernel named. What cannot be attested is answered with the reason, and recorded; it has no
identity to call with. A connection ends when the process that opened it does.

 1. The process at the other end is attested (`workload.attestation`).
 2. There is room for one more connection of its user, or of its pod; else the connection is closed at once.
 3. It finds its workload, or is its first connection.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, cast

from spiffe_mcp.audit import Caller, Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.fair_share import FairShare
from spiffe_mcp.mesh.callers import LocalCaller
from spiffe_mcp.mesh.egress_listener import EgressListener
from spiffe_mcp.mesh.hops import Destination, Hop
from spiffe_mcp.mesh.listen import Closed
from spiffe_mcp.mesh.recording import HandshakeRecords
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.workload import Workload
from spiffe_mcp.mesh.workloads import Workloads
from spiffe_mcp.peer_credentials import AcceptedSocket
from spiffe_mcp.workload.attestation import Attested

_LOG: Final = logging.getLogger(__name__)

_UNATTESTED: Final = "unattested"  # one share for all of them


class AttestedListener:
    """Accepts local connections for `egress`. `attest` says who is there; raises `Refused`."""

    def __init__(
        self,
        egress: EgressListener,
        workloads: Workloads,
        attest: Callable[[AcceptedSocket], Attested],
        connections: int,
    ) -> None:
        self._egress = egress
        self._workloads = workloads
        self._attest = attest
        self._room = FairShare(connections)
        self._records = HandshakeRecords(egress.around.log, Side.EGRESS)

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _AttestedConnection(self)

    def inside(
        self, connection: AcceptedSocket, held: ExitStack, cut: Callable[[], None]
    ) -> asyncio.Protocol:
        """What answers on `connection`. `held` is closed when it is lost; `cut` ends it before."""
        try:
            return self._egress.connection(self._caller(connection, held, cut))
        except Refused as refused:
            with suppress(Refused):  # refused already; a log that cannot be written counts its own gap
                self._records.refused(None, refused, self._egress.around.clock())
            return Closed()

    def _caller(self, connection: AcceptedSocket, held: ExitStack, cut: Callable[[], None]) -> LocalCaller:
        """Who calls; raises `Refused(WORKLOAD_CONNECTIONS)` if there is no room even to say no."""
        try:
            attested = self._attest(connection)  # (1)
        except Refused as refused:
            self._take_room(_UNATTESTED, held)
            return RefusedCaller(Caller(), refused)
        held.callback(attested.process.close)
        self._take_room(attested.holder, held)  # (2)
        attested.process.on_exit(cut)
        described = Caller(process=str(attested), pod=str(attested.pod or ""))
        try:
            workload = self._workloads.of(attested)  # (3)
        except Refused as refused:
            return RefusedCaller(described, refused)
        workload.joined(cut)
        held.callback(workload.left, cut)
        return WorkloadCaller(described, workload)

    def _take_room(self, holder: Hashable, held: ExitStack) -> None:
        if not self._room.take(holder):
            raise Refused(Reason.WORKLOAD_CONNECTIONS, f"{holder}: no room for one more connection")
        held.callback(self._room.give_back, holder)


@dataclass(frozen=True, slots=True)
class WorkloadCaller:
    """One connection of a workload: its process for the record, its workload's identity for the call."""

    described: Caller
    workload: Workload

    async def snapshot(self) -> Snapshot:
        """The workload's identity."""
        return await self.workload.snapshot()

    async def lease(self, destination: Destination, snapshot: Snapshot) -> Hop:
        """A hop of the workload's own."""
        return await self.workload.lease(destination, snapshot)


@dataclass(frozen=True, slots=True)
class RefusedCaller:
    """Whoever could not be attested, or found no room: each of its requests is refused, and recorded."""

    described: Caller
    refused: Refused

    async def snapshot(self) -> Snapshot:
        """There is none, and why."""
        # A new one each time: an exception carries the traceback of where it was raised last.
        raise Refused(self.refused.reason, self.refused.detail)

    async def lease(self, destination: Destination, snapshot: Snapshot) -> Hop:
        """None either: a snapshot that it has is another's."""
        raise RuntimeError(
            f"{snapshot.spiffe_id} was to call {', '.join(map(str, destination.addresses))} for nobody"
        )


class _AttestedConnection(asyncio.Protocol):
    """One accepted connection: who it is comes first, then HTTP, which knows nothing of processes."""

    def __init__(self, listener: AttestedListener) -> None:
        self._listener = listener
        self._held = ExitStack()
        self._inner: asyncio.Protocol = Closed()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        try:
            self._inner = self._listener.inside(transport.get_extra_info("socket"), self._held, self._cut)
        except Exception:  # noqa: BLE001  fail closed: whatever a fault of ours left undone, nobody is attested
            # The event loop would log it too, and keep the connection, on which nobody sets a deadline.
            _LOG.exception("a fault ends a local connection")
            self._cut()
            return
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._held.close()
        self._inner.connection_lost(exc)

    def _cut(self) -> None:
        if self._transport is not None:  # asyncio's own does not stand it afterwards
            self._transport.abort()
