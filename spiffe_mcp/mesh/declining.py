"""Telling a server that its question was not delivered, beside the stream in which it asked.

    declining = Declining(upstream.send)
    declining.begin(declined)        # at once; it goes its own way
    declining.close()

The server gets an ordinary JSON-RPC error in answer, POSTed in the session. What it says to that is not read;
if it cannot be told, it waits as it would for a client that has gone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Response
from spiffe_mcp.mesh.declined import Declined

MOST: Final = 32  # under way to one server; one that asks on and on is not told for ever
TIMEOUT: Final = 10.0  # seconds
_ANSWER_BYTES: Final = 64 * 1024


class Declining:
    """What is under way to one server."""

    def __init__(self, send: Callable[[Declined], Awaitable[Response]]) -> None:
        self._send = send
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, declined: Declined) -> None:
        """Tell the server; raises `Refused(MCP_SERVER_REQUESTS_FULL)` if there is too much to tell."""
        if len(self._under_way) >= MOST:
            raise Refused(Reason.MCP_SERVER_REQUESTS_FULL, f"{MOST} answers are under way")
        task = asyncio.get_running_loop().create_task(self._tell(declined))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()

    async def _tell(self, declined: Declined) -> None:
        # Refused already, and recorded as such: see the module's docstring.
        with suppress(Refused, TimeoutError):
            async with asyncio.timeout(TIMEOUT), await self._send(declined) as response:
                await response.body(_ANSWER_BYTES)
