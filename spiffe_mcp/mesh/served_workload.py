"""The identity of an MCP server's workload: looked for, followed as long as it lasts, and looked for again.

A server does not call the agent, so nothing tells which process it is but the configuration: a PID file or a
pod (`agent.identities` finds it). Until there is one, and when it has ended, there is no identity, and the
ingress refuses.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.mesh.following import follow
from spiffe_mcp.mesh.identity import Snapshots

PAUSE: Final = 1.0  # seconds between two looks at what names the workload
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a workload's identity comes from. `close` lets go of what it was found by."""

    source: IdentitySource
    close: Callable[[], None]


class ServedWorkload:
    """Keeps the workload's identity in `snapshots`. `find` says which one it is now; raises `Refused`."""

    def __init__(
        self, name: str, find: Callable[[], Found], *, clock: Callable[[], datetime], pause: float = PAUSE
    ) -> None:
        self._name = name
        self._find = find
        self._pause = pause
        self._said: str | None = None
        self.snapshots = Snapshots(clock)

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            try:
                await self._serve(self._find())
            except Refused as refused:
                self._say(refused)
            except Exception:  # noqa: BLE001  a fault of ours must not take the other workloads with it
                _LOG.exception("%s: no identity", self._name)
            await asyncio.sleep(self._pause)

    async def _serve(self, found: Found) -> None:
        """Follow one identity to its end."""
        self._said = None
        try:
            await follow(found.source, found.source.states(), self.snapshots)
        finally:
            found.close()

    def _say(self, refused: Refused) -> None:
        """Once for each reason: a workload that is not there is looked for every second."""
        if str(refused) != self._said:
            self._said = str(refused)
            _LOG.warning("%s: no identity: %s", self._name, refused)
