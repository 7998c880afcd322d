"""Resources that a legacy session has subscribed to: nobody else is told that they change.

"Clients can subscribe to specific resources and receive notifications when they change" (2025-11-25
server/resources "Subscriptions"). Servers have one list of listeners for all their sessions, or none at all;
here an update passes if it is of a resource that this very session asked to be told of, or of one below it.
That its user may still read it is asked elsewhere (`changes`).

Enters: a session, which is known to be the caller's, and a URI. Leaves: whether it is subscribed. Pure in its
answers: no clock, no I/O of its own. The table may be one that several processes share.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mcp.judge import WITHHELD, Unasked
from spiffe_mcp.mcp.subscriptions import RESOURCE_UPDATED
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import Added, Table, digest

LASTING: Final = timedelta(hours=24)  # the longest that a subscription is remembered without being told of
MAX_ANCESTORS: Final = 32  # of a URI that are looked at; one that is further down is told to nobody


class Subscribed:
    """The subscriptions of one upstream. Full, it takes no more."""

    def __init__(self, table: Table, lasting: timedelta = LASTING) -> None:
        self._table = table
        self._lasting = int(lasting.total_seconds())

    def __len__(self) -> int:
        return len(self._table)

    def added(self, session: bytes, uri: str, owner: Owner, now: datetime) -> None:
        """`session` has subscribed to `uri`; raises `Refused(SUBSCRIPTIONS_FULL)`."""
        second, holder = int(now.timestamp()), digest(str(owner.peer))
        key, expires = digest(session, uri), second + self._lasting
        match self._table.add(key, b"", holder, expires, second):
            case Added.ADDED:
                return
            case Added.PRESENT:
                self._table.touch(key, expires, second)
            case _:  # fail closed: it would be told of nothing, and not know
                raise Refused(Reason.SUBSCRIPTIONS_FULL, f"{self._table.held_by(holder)} subscriptions")

    def removed(self, session: bytes, uri: str) -> None:
        """`session` is subscribed to `uri` no more."""
        self._table.remove(digest(session, uri))

    def has(self, session: bytes, uri: str, now: datetime) -> bool:
        """Whether `session` is subscribed to `uri`, or to what it is part of; if so, that lasts on."""
        second = int(now.timestamp())
        return any(
            self._table.get(key := digest(session, within), second) is not None
            and self._table.touch(key, second + self._lasting, second)
            for within in _ancestors(uri)
        )


class OfSubscribed:
    """Of what a server says unasked, no update of a resource to which the session is not subscribed."""

    __slots__ = ("_has", "_unasked")

    def __init__(self, unasked: Unasked, has: Callable[[str], bool]) -> None:
        self._unasked = unasked
        self._has = has

    def notification(self, notification: Notification) -> bytes:
        """What `unasked` makes of it; nothing of an update that nobody asked for."""
        if notification.method == RESOURCE_UPDATED:
            uri = (notification.params or {}).get("uri")
            if not isinstance(uri, str) or not self._has(uri):
                return WITHHELD
        return self._unasked.notification(notification)

    def request(self, request: Request) -> bytes:
        """What `unasked` makes of it."""
        return self._unasked.request(request)


def _ancestors(uri: str) -> Iterator[str]:
    """`uri`, then what it is part of, nearest first, each with and without a slash at its end."""
    yield uri
    parts = uri.split("/")
    for length in range(len(parts) - 1, max(0, len(parts) - MAX_ANCESTORS), -1):
        above = "/".join(parts[:length])
        yield f"{above}/"
        yield above
