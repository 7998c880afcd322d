"""A source of identity that was asked for a process by its number, held to the process itself.

Enters: the source, and the process by its pidfd. Leaves: the same states, as long as they are of this
process and it acts as the same user; then an end. Knows nothing of sockets and of what is done with an
identity.
"""

import asyncio
from collections.abc import AsyncIterator

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.workload.process import Process


class LivingSource:
    """`source` until `process` ends. Whoever made this closes `process`, after `run`."""

    def __init__(self, source: IdentitySource, process: Process) -> None:
        self._source = source
        self._process = process

    @property
    def current(self) -> IdentityState | None:
        """The newest state; None once the process has ended, or acts as another user."""
        state = self._source.current
        try:
            self._process.check_unchanged()
        except Refused:
            return None
        return state

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one; raises as `states`."""
        state = await self._source.wait_ready()
        self._process.check_unchanged()
        return state

    async def states(self) -> AsyncIterator[IdentityState | None]:
        """The states of the source; raises `Refused`: WORKLOAD_EXITED, WORKLOAD_UNATTESTED.

        The source asks by number. A state counts only if the process is alive after it came: then the number
        was its own all the time. And only if it has not become another user's meanwhile, by a set-user-ID
        program say: the state would be that user's, and the connection is not.
        """
        async for state in self._source.states():
            self._process.check_unchanged()
            yield state

    async def run(self) -> None:
        """Run the source until the process ends; raises `Refused`, in a group: WORKLOAD_EXITED, or any."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._source.run())
            await self._process.exited()
            raise Refused(Reason.WORKLOAD_EXITED, f"pid {self._process.pid} has ended")
