"""Connections to one peer, reused: a request in, a connection for it and the response on it out.

Nothing is ever sent twice. A request that fails, fails: only the layer above knows what is safe to repeat.
How a connection is opened (TCP, Unix socket, mutual TLS) is the caller's affair.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.client import ClientConnection, Lease, Response
from spiffe_mcp.http.messages import Request

Connector: TypeAlias = Callable[[], Awaitable[ClientConnection]]


class IdleRoom(Protocol):
    """Room for idle connections that several pools share."""

    def take(self) -> bool:
        """Whether one more may be idle; if so, it has its place."""

    def give_back(self) -> None:
        """One is idle no more."""


class _NoLimit:
    def take(self) -> bool:
        return True

    def give_back(self) -> None:
        pass


class HttpClient:
    """A pool of connections to one peer. The newest idle one is used first, so that spare ones age out.

    No more than `max_idle` are kept, and no more than there is `room` for.
    """

    def __init__(
        self,
        connect: Connector,
        *,
        idle_timeout: float = 60.0,
        max_idle: int = 64,
        room: IdleRoom | None = None,
    ) -> None:
        self._connect = connect
        self._idle_timeout = idle_timeout
        self._max_idle = max_idle
        self._room = room or _NoLimit()
        self._idle: dict[ClientConnection, None] = {}  # idle longest first
        self._retired = False

    async def send(self, request: Request) -> Response:
        """Send `request`; the response once its head is there. Use it as an async context manager.

        Raises `Refused(UPSTREAM_*)`, or what opening the connection raises.
        """
        return await (await self.lease()).send(request)

    async def lease(self) -> Lease:
        """A connection for one request, before anything is said on it; raises as `send`.

        For a request that depends on who is at the other end.
        """
        if self._retired:
            raise Refused(Reason.UPSTREAM_UNREACHABLE, "retired")
        return Lease(self._take() or await self._connect(), self._give_back)

    def retire(self) -> None:
        """Open no more and keep none: running responses end in their own time."""
        self._retired = True
        for connection in tuple(self._idle):
            connection.abort()

    def _take(self) -> ClientConnection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.stop_idling()
            if connection.reusable:
                return connection
        return None

    def _give_back(self, connection: ClientConnection) -> None:
        connection.discard()
        full = self._retired or len(self._idle) >= self._max_idle
        if full or not connection.reusable or not self._room.take():
            connection.abort()
            return
        self._idle[connection] = None
        connection.idle(self._idle_timeout, lambda: self._no_longer_idle(connection))

    def _no_longer_idle(self, connection: ClientConnection) -> None:
        self._idle.pop(connection, None)
        self._room.give_back()
