"""Legacy sessions: which peer opened which, so that a session ID alone opens nothing.

"MCP Servers MUST NOT use sessions for authentication" (security best practices, session hijacking). An ID is
the upstream's own; here it is bound to the SPIFFE ID and the user that opened it. For anybody else it does
not exist, and the answer is the one for an ID that never existed. With it is kept what its client declared at
`initialize`: what the server may ask of it.

Pure in its answers: no clock, no I/O of its own. The table may be one that several processes share.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.tables import KEY_BYTES, Added, Table, digest

IDLE: Final = timedelta(minutes=30)
MAX_ID_BYTES: Final = 512
VALUE_BYTES: Final = KEY_BYTES + 1  # whose it is, and what was declared
_ID: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a session, or a task, belongs to."""

    peer: SpiffeId
    caller: SpiffeId
    sub: str
    sub_iss: str

    @property
    def mark(self) -> bytes:
        """All of it, in as few bytes as a table's key has."""
        return digest(str(self.peer), str(self.caller), self.sub, self.sub_iss)


class Sessions:
    """The sessions of one upstream. Full of live ones, it refuses more rather than forget one.

    No peer may hold more than are still free: one alone fills half of the table, and never all of it.
    """

    def __init__(self, table: Table, idle: timedelta = IDLE) -> None:
        self._table = table
        self._idle = int(idle.total_seconds())

    def __len__(self) -> int:
        return len(self._table)

    def opened(self, session: bytes, owner: Owner, now: datetime, declared: Capability = NOTHING) -> None:
        """The upstream opened `session` for `owner`; raises `Refused`: SESSION_UNUSABLE, SESSIONS_FULL.

        `declared` counts when it opens; servers name the session again in later answers.

        An ID is visible ASCII (MCP 2025-11-25 basic/transports "Session Management"). One that is already
        somebody else's is refused too: an upstream that hands it out twice is broken.
        """
        if not _ID.fullmatch(session):
            raise Refused(Reason.SESSION_UNUSABLE)
        key, holder, second = digest(session), digest(str(owner.peer)), int(now.timestamp())
        value = owner.mark + bytes((declared.value,))
        match self._table.add(key, value, holder, self._last(second), second):
            case Added.ADDED:
                return
            case Added.PRESENT:
                if self._used(key, owner, second) is None:
                    raise Refused(Reason.SESSION_UNUSABLE)
            case _:  # fail closed: full, or opened by a clock that was set back by more than a session lasts
                held, free = self._table.held_by(holder), self._table.free
                raise Refused(Reason.SESSIONS_FULL, f"{held} live sessions, room for {free}")

    def check(self, session: bytes, owner: Owner, now: datetime) -> Capability:
        """What was declared in `session`, which is `owner`'s; raises `Refused(SESSION_UNKNOWN)`."""
        declared = self._used(digest(session), owner, int(now.timestamp()))
        if declared is None:
            raise Refused(Reason.SESSION_UNKNOWN)
        return declared

    def ended(self, session: bytes) -> None:
        """The session is no more."""
        self._table.remove(digest(session))

    def _used(self, key: bytes, owner: Owner, second: int) -> Capability | None:
        """What was declared in the session, if it is `owner`'s; then it was used now."""
        value = self._table.get(key, second)
        if value is None or value[:KEY_BYTES] != owner.mark:
            return None
        return Capability(value[KEY_BYTES]) if self._table.touch(key, self._last(second), second) else None

    def _last(self, second: int) -> int:
        """From when on a session that is used now is idle for too long."""
        return second + self._idle + 1
