"""Legacy sessions: which peer opened which, so that a session ID alone opens nothing.

"MCP Servers MUST NOT use sessions for authentication" (security best practices, session hijacking). An ID is
the upstream's own; here it is bound to the SPIFFE ID and the user that opened it. For anybody else it does
not exist, and the answer is the one for an ID that never existed.

Pure in its answers: no clock, no I/O; one event loop owns a table.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.fair_share import FairShare
from spiffe_mcp.identity import SpiffeId

MAX_ID_BYTES: Final = 512
_ID: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a session belongs to."""

    peer: SpiffeId
    caller: SpiffeId
    sub: str
    sub_iss: str


class Sessions:
    """The sessions of one upstream. Full of live ones, it refuses more rather than forget one.

    No peer may hold more than are still free: one alone fills half of the table, and never all of it.
    """

    def __init__(self, capacity: int = 10_000, idle: timedelta = timedelta(minutes=30)) -> None:
        self._idle = idle
        self._owners: OrderedDict[bytes, tuple[Owner, datetime]] = OrderedDict()  # least recently used first
        self._room = FairShare(capacity)  # by peer

    def __len__(self) -> int:
        return len(self._owners)

    def opened(self, session: bytes, owner: Owner, now: datetime) -> None:
        """The upstream opened `session` for `owner`; raises `Refused`: SESSION_UNUSABLE, SESSIONS_FULL.

        An ID is visible ASCII (MCP 2025-11-25 basic/transports "Session Management"). One that is already
        somebody else's is refused too: an upstream that hands it out twice is broken.
        """
        self._forget_idle(now)
        known = self._owners.get(session)
        if not _ID.fullmatch(session) or (known is not None and known[0] != owner):
            raise Refused(Reason.SESSION_UNUSABLE)
        if known is None:
            self._make_room(owner)
        self._owners[session] = (owner, now)
        self._owners.move_to_end(session)

    def check(self, session: bytes, owner: Owner, now: datetime) -> None:
        """Return if `session` is `owner`'s; raises `Refused(SESSION_UNKNOWN)`."""
        self._forget_idle(now)
        known = self._owners.get(session)
        if known is None or known[0] != owner:
            raise Refused(Reason.SESSION_UNKNOWN)
        self._owners[session] = (owner, now)
        self._owners.move_to_end(session)

    def ended(self, session: bytes) -> None:
        """The session is no more."""
        known = self._owners.pop(session, None)
        if known is not None:
            self._room.give_back(known[0].peer)

    def _make_room(self, owner: Owner) -> None:
        if not self._room.take(owner.peer):
            held, free = self._room.held_by(owner.peer), self._room.free
            raise Refused(Reason.SESSIONS_FULL, f"{held} live sessions, room for {free}")

    def _forget_idle(self, now: datetime) -> None:
        while self._owners:
            session, (_, used) = next(iter(self._owners.items()))
            if now - used <= self._idle:
                return
            self.ended(session)
