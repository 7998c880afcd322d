"""Legacy sessions in front of stdio, which has none: an ID for each, and the server that it leads to.

The ingress binds a session's ID to whoever opened it; here it is only known or not. A session ends with its
DELETE, with its process, after it was idle for too long, or to make room for another while nothing of it
runs: the one that was used least recently. Its client is told that it is not known, and begins a new one
(2025-11-25 basic/transports "Session Management"). Times in seconds of any clock, as arguments.
"""

from collections.abc import Callable
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio.server import Server

IDLE: Final = 30 * 60.0  # seconds


class Session:
    """One session. `owns`: whether its server is for it alone, and ends with it."""

    def __init__(self, identifier: bytes, server: Server, *, owns: bool) -> None:
        self.identifier = identifier
        self.server = server
        self.owns = owns

    @property
    def is_busy(self) -> bool:
        """Whether something of it runs. Of a server that others use too nobody can tell, and need not."""
        return self.owns and self.server.is_busy


class Sessions:
    """The sessions of one program, at most `most`. `new_id` makes an ID that nobody can guess."""

    def __init__(self, new_id: Callable[[], bytes], most: int) -> None:
        self._new_id = new_id
        self._most = most
        self._used: dict[Session, float] = {}  # the one that was used least recently first
        self._by_id: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._used)

    def open(self, server: Server, now: float, *, owns: bool) -> Session:
        """A new session on `server`."""
        if len(self._used) >= self._most:
            self.make_room()
        session = Session(self._new_id(), server, owns=owns)
        self._by_id[session.identifier] = session
        self._used[session] = now
        return session

    def find(self, identifier: bytes | None, now: float) -> Session:
        """The session of this ID, which is used now; raises `Refused(SESSION_UNKNOWN)`."""
        session = self._by_id.get(identifier or b"")
        if session is not None and not session.server.process.wanted:
            self.end(session)
            session = None
        if session is None:
            raise Refused(Reason.SESSION_UNKNOWN)
        del self._used[session]
        self._used[session] = now
        return session

    def end(self, session: Session) -> None:
        """It is not known any more, and the process that was only for it ends."""
        self._used.pop(session, None)
        self._by_id.pop(session.identifier, None)
        if session.owns:
            session.server.process.end()

    def expire(self, now: float) -> None:
        """End those that have been idle for too long, and those whose process has ended."""
        for session, used in tuple(self._used.items()):
            idle = now - used >= IDLE and not session.is_busy
            if idle or not session.server.process.wanted:
                self.end(session)

    def make_room(self) -> None:
        """End the one that was used least recently, of those of which nothing runs; perhaps there is none."""
        for session in self._used:
            if not session.is_busy:
                self.end(session)
                return
