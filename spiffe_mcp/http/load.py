"""What the connections of one listener are, all together: counted, bounded, and ended.

Each connection is bounded by itself, but many come. Where there are as many as there may be, the one that has
been idle longest gives way to the newest: whoever opens connections and says nothing closes his own, and not
those that work. It is what keeps a flood of strangers, or one greedy caller, from keeping everybody else out.
"""

from collections.abc import Callable
from typing import Protocol

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.messages import Limits


class Connection(Protocol):
    """What can be done to one of them."""

    def abort(self) -> None:
        """End it now."""

    def give_way(self) -> None:
        """End it while it is idle."""

    def drain(self) -> None:
        """End it with the answer to what it was asked."""


class Load:
    """All connections of one listener, and the bytes of bodies that they hold."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # idle longest first
        self._bodies = 0
        self._closed = False
        self._tell_quiet: Callable[[], None] | None = None  # set while draining

    def close(self) -> None:
        """End every connection now, and every one that is still being accepted."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.abort()

    def drain(self, quiet: Callable[[], None]) -> None:
        """End each connection as soon as it has its answer; calls `quiet` as often as none waits for one.

        Those that are opened later have one request answered; nobody waits for them.
        """
        self._tell_quiet = quiet
        for connection in tuple(self._connections):
            if connection in self._idle:
                self.busy(connection)  # until its goodbye has left
                connection.give_way()
            else:
                connection.drain()
        self._look_around()

    def opened(self, connection: Connection) -> None:
        """A connection reports itself."""
        self._connections.add(connection)
        if self._closed:
            connection.abort()
        elif len(self._connections) > self.limits.connections:
            self._make_room(connection)
        elif self._tell_quiet is not None:
            connection.drain()
        self.idle(connection)

    def closed(self, connection: Connection) -> None:
        """A connection reports its end."""
        self._connections.discard(connection)
        self.busy(connection)
        self._look_around()

    def idle(self, connection: Connection) -> None:
        """A connection waits for a request, from now on."""
        self._idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """A request has come, whole."""
        self._idle.pop(connection, None)

    def hold(self, count: int) -> None:
        """Another `count` bytes of request bodies are kept; raises `Refused(HTTP_BUSY)` if they are too many.

        Each body is small, but many callers may have one on its way.
        """
        self._bodies += count
        if self._bodies > self.limits.bodies:
            raise Refused(Reason.HTTP_BUSY)

    def let_go(self, count: int) -> None:
        """They are kept no more."""
        self._bodies -= count

    def _look_around(self) -> None:
        if self._tell_quiet is not None and len(self._connections) == len(self._idle):
            self._tell_quiet()

    def _make_room(self, newest: Connection) -> None:
        idle = next(iter(self._idle), None)
        if idle is None:  # everybody works: then the newest has come too late
            newest.abort()
            return
        self.closed(idle)  # it counts no more, however long its goodbye takes
        idle.give_way()
