"""Hundreds of streams that say nothing: callers are served beside them, each is small, none leaves a trace.

Both agents are processes, whose memory and descriptors are read off the kernel. `STREAMS` opens more of them:
each takes two descriptors of every process.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from spiffe_mcp.http import Reply
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mcp_server import STREAM, Message, RecordingServer, event, serving_mcp
from tests.fakes.mesh import LIVE, Site, provider_at
from tests.fakes.streaming import PROGRESS

STREAMS: Final = int(os.environ.get("STREAMS", "300"))
LARGEST: Final = 160 * 1024  # bytes of memory that a stream may take in either agent
TOGETHER: Final = 32  # are opened at a time
PATIENCE: Final = 20.0


class Agents:
    """Two agents as processes."""

    def __init__(self, server: RecordingServer, client: Plain, pids: dict[str, int]) -> None:
        self.server = server
        self.client = client
        self.pids = pids

    def memory(self) -> dict[str, int]:
        """Resident bytes of each (proc(5), statm)."""
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            side: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            for side, pid in self.pids.items()
        }

    def descriptors(self) -> dict[str, int]:
        """How many each has open."""
        return {side: len([*Path(f"/proc/{pid}/fd").iterdir()]) for side, pid in self.pids.items()}

    async def serve(self, times: int = 1) -> None:
        for _ in range(times):
            async with asyncio.timeout(PATIENCE):
                assert (await self.client.ask(call("echo", text="as ever"))).text == "as ever"


@asynccontextmanager
async def agents(folder: Path) -> AsyncIterator[Agents]:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, server.url)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        ingress = await stack.enter_async_context(running)
        config = site.egress_config(provider.address, (await ingress.ready())["ingress"])
        running = commands.running("agent", "--config", config, log=folder / "egress.err")
        egress = await stack.enter_async_context(running)
        client = Plain(Address.parse((await egress.ready())["egress"]))
        stack.callback(client.close)
        yield Agents(server, client, {"ingress": ingress.pid, "egress": egress.pid})


async def silent(_: Message, reply: Reply) -> None:
    """A stream that begins, and says nothing more."""
    await reply.start(STREAM)
    await reply.write(event(PROGRESS))
    await asyncio.Event().wait()


async def begun(client: Plain, number: int) -> ClientConnection:
    """A stream of which the first event has come."""
    connection = await client.connection()
    await connection.exchange(call("echo", message_id=number, text="idle"))
    assert await connection.read() == event(PROGRESS)
    return connection


async def test_streams_that_say_nothing_are_small_and_leave_nothing_behind(folder: Path) -> None:
    async with agents(folder) as running:
        await running.serve(times=50)  # warm: what is loaded once is loaded
        memory, descriptors = running.memory(), running.descriptors()
        streams: list[ClientConnection] = []
        with running.server.answering(silent):
            for first in range(0, STREAMS, TOGETHER):
                numbers = range(first, min(first + TOGETHER, STREAMS))
                streams += await asyncio.gather(*(_opened(running.client, number) for number in numbers))
        assert len(streams) == STREAMS
        await running.serve(times=5)
        taken = {side: (now - memory[side]) / STREAMS for side, now in running.memory().items()}
        print(f"{STREAMS} streams, bytes each: {taken}")  # noqa: T201  for whoever runs it with -s
        assert max(taken.values()) < LARGEST, taken

        for stream in streams:
            stream.abort()
        async with asyncio.timeout(PATIENCE):
            # No event tells that another process has closed a file.
            while running.server.open > 2 or not _is_back(running.descriptors(), descriptors):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await running.serve(times=5)


async def _opened(client: Plain, number: int) -> ClientConnection:
    async with asyncio.timeout(PATIENCE):
        return await begun(client, number)


def _is_back(now: dict[str, int], before: dict[str, int]) -> bool:
    """Whether what was open is closed again, but for a few connections that are kept for the next call."""
    return all(now[side] <= before[side] + 2 for side in now)
