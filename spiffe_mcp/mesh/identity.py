"""The snapshot of this moment: follows a source of identity, and hands out what exchanges begin with."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.tls import TlsIdentity


class Snapshots:
    """Holds at most one snapshot. None means no identity, and without one nothing is dialled or accepted."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._newest: Snapshot | None = None

    async def follow(self, states: AsyncIterator[IdentityState | None]) -> None:
        """Put each state in force as it comes, until cancelled."""
        async for state in states:
            self._newest = None if state is None else Snapshot.of(state, TlsIdentity(state, self._clock))

    def current(self, now: datetime) -> Snapshot:
        """The newest snapshot; raises `Refused(IDENTITY_UNAVAILABLE)` if there is none that is valid."""
        if self._newest is None:
            raise Refused(Reason.IDENTITY_UNAVAILABLE, "no SVID yet")
        return self._newest.valid_at(now)
