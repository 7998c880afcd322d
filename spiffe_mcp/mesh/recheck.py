"""A stream that lasts is looked at again: what was permitted when it began has to be permitted while it runs.

    async with looked_at_again(every, look, interruption):     # `look` raises `Refused`
        ...                                                    # ends with that refusal

Policy may depend on the time, a manifest expires, a session ends. Who may be at the other end of the
connection is looked at elsewhere (`live`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.interruption import Interruption


@asynccontextmanager
async def looked_at_again(
    every: timedelta, look: Callable[[], None], interruption: Interruption
) -> AsyncIterator[None]:
    """While inside, `look` each `every`; what it refuses interrupts the inside."""
    watching = asyncio.get_running_loop().create_task(_watch(every.total_seconds(), look, interruption))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(seconds: float, look: Callable[[], None], interruption: Interruption) -> None:
    try:
        while True:
            await asyncio.sleep(seconds)
            look()
    except Refused as refused:
        interruption.interrupt(refused)
