"""What every source of identity is: one workload's SVID and bundles, the newest, followed until cancelled.

`workload_api` gives the agent its own identity; `broker` and `delegated` give it that of one workload on its
node. Whoever uses an identity knows this interface and not which source stands behind it.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from spiffe_mcp.identity.state import IdentityState


class IdentitySource(Protocol):
    """Holds at most one state. None means: no identity, so nothing may be dialled, accepted or signed."""

    @property
    def current(self) -> IdentityState | None:
        """The newest state; None before the first, and after the identity was withdrawn."""

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one. A deadline is the caller's to set."""

    def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""

    async def run(self) -> None:
        """Follow the source until cancelled; waits out every outage.

        Raises `Refused` for what no retry can mend.
        """
