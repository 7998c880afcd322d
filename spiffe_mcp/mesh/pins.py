"""At which of a server's addresses a legacy session was made: there it stays.

In: sessions as ingresses named them, who they were named to, addresses, `now`. Out: where a request of a
session may go. A session lives in the memory of the ingress where it was made, so it is never moved: where
its address is gone, its client is told that there is no such session, and makes a new one (MCP 2025-11-25
basic/transports "Session Management"). Whose a session is, is for the ingress to say.

Pure: no clock, no I/O of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.routes import ServerName
from spiffe_mcp.mesh.sessions import IDLE
from spiffe_mcp.tables import KEY_BYTES, Table, digest

CAPACITY: Final = 10_000  # sessions of one egress; half by one caller
VALUE_BYTES: Final = KEY_BYTES


@dataclass(frozen=True, slots=True)
class Session:
    """A session as a caller names it to a server: the same ID to another caller is another one."""

    id: bytes
    caller: SpiffeId
    server: ServerName

    @property
    def key(self) -> bytes:
        """What it is remembered under."""
        return digest(str(self.caller), str(self.server), self.id)


class Pins:
    """The sessions of one egress. What it does not remember goes by the order of the list, as without it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def made(self, session: Session, at: Address, now: datetime) -> None:
        """`session` was made at that address. Without room for it, it goes by the list."""
        second = int(now.timestamp())
        self._table.put(session.key, _mark(at), digest(str(session.caller)), _last(second), second)

    def address(self, session: Session, places: Collection[Address], now: datetime) -> Address | None:
        """Which of `places` it was made at, None if unknown; raises `Refused(SESSION_UNKNOWN)` if none."""
        key, second = session.key, int(now.timestamp())
        mark = self._table.get(key, second)
        if mark is None:
            return None
        self._table.touch(key, _last(second), second)
        for address in places:
            if _mark(address) == mark:
                return address
        raise Refused(Reason.SESSION_UNKNOWN, "made at an address that the server has no more")


def _mark(address: Address) -> bytes:
    return digest(str(address))


def _last(second: int) -> int:
    """From when on the ingress has forgotten it too."""
    return second + int(IDLE.total_seconds()) + 1
