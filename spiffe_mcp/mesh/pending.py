"""Requests of a server that wait for their client's answer: who may answer what, and once.

A client's response is forwarded only to a question that was let through to this very session and has not
been answered: nobody answers for somebody else, nor before or after. "The client's response MUST be sent on
the session" is no check by itself, for the ID of a question is easily guessed.

Enters: a session, which is known to be the caller's, and the ID of a question. Leaves: whether one waits.
Must not know what was asked. Pure in its answers: no clock, no I/O of its own; the table may be shared.
"""

from datetime import datetime, timedelta
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import MessageId
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import Added, Table, digest

PATIENCE: Final = timedelta(hours=1)  # that somebody takes who has to be found before a form is filled in


class Pending:
    """The questions of one upstream. Full, it takes no more, and no peer has more than there is room left."""

    def __init__(self, table: Table, patience: timedelta = PATIENCE) -> None:
        self._table = table
        self._patience = int(patience.total_seconds())

    def __len__(self) -> int:
        return len(self._table)

    def asked(self, session: bytes, message_id: MessageId, owner: Owner, now: datetime) -> None:
        """A question is let through to `session`; raises `Refused(MCP_SERVER_REQUESTS_FULL)`.

        The same once more is the same question: a stream that is resumed brings it again.
        """
        second = int(now.timestamp())
        key, holder = _key(session, message_id), digest(str(owner.peer))
        added = self._table.add(key, b"", holder, second + self._patience, second)
        if added not in (Added.ADDED, Added.PRESENT):  # fail closed
            raise Refused(Reason.MCP_SERVER_REQUESTS_FULL, f"{self._table.held_by(holder)} wait")

    def answered(self, session: bytes, message_id: MessageId, now: datetime) -> None:
        """Take the question that a response in `session` answers: it is answered once.

        Raises `Refused(MCP_RESPONSE_UNEXPECTED)` if none waits for it.
        """
        if self._table.take(_key(session, message_id), int(now.timestamp())) is None:
            raise Refused(Reason.MCP_RESPONSE_UNEXPECTED, "no question waits for it")


def _key(session: bytes, message_id: MessageId) -> bytes:
    # "1" and 1 are two questions.
    return digest(session, type(message_id).__name__, str(message_id))
