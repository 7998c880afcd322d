"""The newest state of one identity, and word of every change to whoever waits.

Each source publishes into one of these. A slow reader misses states but never the newest one.
"""

import asyncio
from collections.abc import AsyncIterator

from spiffe_mcp.identity.state import IdentityState


class IdentityFeed:
    """Holds at most one state; None means: no identity, so nothing may be dialled or accepted."""

    def __init__(self) -> None:
        self._current: IdentityState | None = None
        self._changed = asyncio.Event()

    @property
    def current(self) -> IdentityState | None:
        """The newest state. Ask `valid_at` before it is used: a source that is down does not renew it."""
        return self._current

    def publish(self, state: IdentityState | None) -> None:
        """Put `state` in force and wake everybody who waits."""
        self._current = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one."""
        while self._current is None:
            await self._changed.wait()
        return self._current

    async def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""
        while True:
            # Taken before the state is handed out: a change while the reader is busy is not missed.
            changed = self._changed
            yield self._current
            await changed.wait()
