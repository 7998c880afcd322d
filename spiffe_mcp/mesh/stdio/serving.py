"""A program as an upstream: its bridge on a Unix socket that only this user can reach, while it is needed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.stdio.bridge import Bridge
from spiffe_mcp.mesh.stdio.program import Processes, Program
from spiffe_mcp.mesh.stdio.sessions import Sessions
from spiffe_mcp.mesh.stdio.slots import Slots
from spiffe_mcp.mesh.targets import UnixUpstream

MAX_SESSIONS: Final = 4096  # on a process that they share
SWEEP: Final = 30.0  # seconds between two looks for sessions that are idle


@asynccontextmanager
async def bridging(
    name: str, program: Program, socket: Path, own: Mapping[str, str], new_id: Callable[[], bytes]
) -> AsyncIterator[UnixUpstream]:
    """`program` as an upstream while inside; its processes have ended when this returns.

    `socket` is in a folder that is private (mode 0700), and can be found by this user's other processes, the
    servers among them; so the path of the endpoint is one that cannot be guessed. `name` is for the log, and
    `own` is the agent's environment.
    """
    clock = asyncio.get_running_loop().time
    path = "/" + new_id().decode("ascii")
    async with asyncio.TaskGroup() as tasks:
        slots = Slots(name, program, own, tasks, clock)
        most = program.most if program.processes is Processes.SESSION else MAX_SESSIONS
        sessions = Sessions(new_id, most)
        bridge = Bridge(path.encode(), program.processes, slots, sessions, clock)
        http = HttpServer(tasks, Limits())
        sweeping = tasks.create_task(_swept(sessions, clock))
        try:
            async with listening(socket, lambda: http.connection(bridge)) as bound:
                assert isinstance(bound, Path)  # noqa: S101  as what was asked for
                yield UnixUpstream(bound, path)
        finally:
            http.close()
            sweeping.cancel()
            await slots.close()


async def _swept(sessions: Sessions, clock: Callable[[], float]) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        sessions.expire(clock())
