"""The snapshot of this moment: follows a source of identity, and hands out what exchanges begin with."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.tls import TlsIdentity

_LOG: Final = logging.getLogger(__name__)


class Snapshots:
    """Holds at most one snapshot. None means no identity, and without one nothing is dialled or accepted."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._newest: Snapshot | None = None
        self._ready = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after each change of what is in force."""
        self._told.append(tell)

    async def follow(self, states: AsyncIterator[IdentityState | None]) -> None:
        """Put each state in force as it comes, until cancelled."""
        async for state in states:
            try:
                self._newest = self._snapshot(state)
            except OSError:  # out of descriptors, say; what is in force stays so while it is valid
                _LOG.exception("a new identity could not be put in force")
            if self._newest is not None:
                self._ready.set()
            for tell in self._told:
                tell()

    async def first(self) -> Snapshot:
        """The snapshot, as soon as there is one."""
        while self._newest is None:
            await self._ready.wait()
            self._ready.clear()
        return self._newest

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot, whether or not it is valid: to tell of, never to begin with."""
        return self._newest

    def _snapshot(self, state: IdentityState | None) -> Snapshot | None:
        return None if state is None else Snapshot.of(state, TlsIdentity(state, self._clock))

    def current(self, now: datetime) -> Snapshot:
        """The newest snapshot; raises `Refused(IDENTITY_UNAVAILABLE)` if there is none that is valid."""
        if self._newest is None:
            raise Refused(Reason.IDENTITY_UNAVAILABLE, "no SVID yet")
        return self._newest.valid_at(now)
