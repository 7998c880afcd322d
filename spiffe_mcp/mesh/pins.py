"""At which of a server's addresses a legacy session was made: there it stays.

In: sessions as ingresses named them, who they were named to, addresses, `now`. Out: where a request of a
session may go. A session lives in the memory of the ingress where it was made, so it is never moved: where
its address is gone, its client is told that there is no such session, and makes a new one (MCP 2025-11-25
basic/transports "Session Management"). Whose a session is, is for the ingress to say.

Pure: no clock, no I/O of its own.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.routes import EgressRoute
from spiffe_mcp.mesh.sessions import IDLE
from spiffe_mcp.tables import KEY_BYTES, Table, digest

CAPACITY: Final = 10_000  # sessions of one egress; half by one caller
VALUE_BYTES: Final = KEY_BYTES


@dataclass(frozen=True, slots=True)
class Session:
    """A session as a caller names it to a server: the same ID to another caller is another one."""

    id: bytes
    caller: SpiffeId
    route: EgressRoute

    @property
    def key(self) -> bytes:
        """What it is remembered under."""
        return digest(str(self.caller), str(self.route.name), self.id)


class Pins:
    """The sessions of one egress. What it does not remember goes by the order of the list, as without it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def made(self, session: Session, at: Address, now: datetime) -> None:
        """`session` was made at that address. Without room for it, it goes by the list."""
        second = int(now.timestamp())
        self._table.put(session.key, _mark(at), digest(str(session.caller)), _last(second), second)

    def address(self, session: Session, now: datetime) -> Address | None:
        """Where it was made, None if that is not known; raises `Refused(SESSION_UNKNOWN)` if it is gone."""
        key, second = session.key, int(now.timestamp())
        mark = self._table.get(key, second)
        if mark is None:
            return None
        self._table.touch(key, _last(second), second)
        for address in session.route.addresses:
            if _mark(address) == mark:
                return address
        raise Refused(Reason.SESSION_UNKNOWN, "made at an address that the server has no more")


def _mark(address: Address) -> bytes:
    return digest(str(address))


def _last(second: int) -> int:
    """From when on the ingress has forgotten it too."""
    return second + int(IDLE.total_seconds()) + 1
