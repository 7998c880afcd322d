"""Events that went to a legacy session, so that their IDs open the stream that they were on, and no other.

A client whose stream broke asks for what came after an event, by `Last-Event-ID`. Servers keep events in a
store of their own, and some look an ID up there without looking at the session: so an ID is good here only in
the session in which it was sent, whose owner has been checked. And what a server sends again has to be
filtered again: with the ID is kept which call the stream was to answer, for "the server MUST NOT replay
messages that would have been delivered on a different stream" (2025-11-25 basic/transports "Resumability and
Redelivery").

Pure in its answers: no clock, no I/O of its own. The table may be one that several processes share.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import Call, MessageId, Response
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import KEY_BYTES, MAX_VALUE_BYTES, Added, Table, digest

VALUE_BYTES: Final = MAX_VALUE_BYTES
LASTING: Final = timedelta(minutes=30)  # as long as a session may be idle
MAX_ID_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Owed:
    """The call that a stream is to answer: a digest of its ID, and its method."""

    mark: bytes
    action: str

    @classmethod
    def by(cls, call: Call) -> Self | None:
        """What is owed to `call`; None if that is nothing, or cannot be kept."""
        if call.id is None or len(call.action.encode()) > VALUE_BYTES - KEY_BYTES:
            return None
        return cls(_mark(call.id), call.action)

    def is_paid_by(self, response: Response) -> bool:
        """Whether `response` is the answer to that call."""
        return response.id is not None and _mark(response.id) == self.mark


class Replays:
    """The events of one upstream. Full, it takes no more: their streams end with their connections."""

    def __init__(self, table: Table, lasting: timedelta = LASTING) -> None:
        self._table = table
        self._lasting = int(lasting.total_seconds())

    def __len__(self) -> int:
        return len(self._table)

    def passed(self, session: bytes, event: bytes, owed: Owed | None, owner: Owner, now: datetime) -> bool:
        """An event of `session` leaves, of a stream with that answer; whether it will be known again."""
        second, value = int(now.timestamp()), b"" if owed is None else owed.mark + owed.action.encode()
        key, expires = digest(session, event), second + self._lasting
        added = self._table.add(key, value, digest(str(owner.peer)), expires, second)
        # An event that is sent again stays on the stream that it was on first.
        return added is Added.ADDED or (added is Added.PRESENT and self._table.touch(key, expires, second))

    def after(self, session: bytes, event: bytes, now: datetime) -> Owed | None:
        """What the stream of an event of `session` was to answer, if anything.

        Raises `Refused(SESSION_EVENT_UNKNOWN)`: never sent, sent to another session, or too long ago.
        """
        value = self._table.get(digest(session, event), int(now.timestamp()))
        if value is None:
            raise Refused(Reason.SESSION_EVENT_UNKNOWN)
        return Owed(value[:KEY_BYTES], value[KEY_BYTES:].decode()) if value else None


def _mark(message_id: MessageId) -> bytes:
    # "1" and 1 are two calls.
    return digest(type(message_id).__name__, str(message_id))
