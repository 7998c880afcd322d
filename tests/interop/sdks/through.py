"""A client before two agents, a server behind them; and what the client's user saw."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scripts.conformance_suite.meshed import meshed
from tests.fakes.sdk import served
from tests.interop.sdks.server import POLICY, ReferenceServer


@asynccontextmanager
async def reference(folder: Path) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The reference server behind the mesh, and what is set when a call of it is cancelled."""
    server = ReferenceServer()
    async with served(server.server) as url, meshed(url, folder, POLICY) as through:
        yield through, server.was_cancelled


@asynccontextmanager
async def program(command: tuple[str, ...], folder: Path) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The same for a server that is a program: it prints its URL, and `cancelled` for each call that is."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    was_cancelled = asyncio.Event()

    async def listen(said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            if line.strip() == b"cancelled":
                was_cancelled.set()

    try:
        url = (await process.stdout.readline()).decode().strip()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen(process.stdout))
            async with meshed(url, folder, POLICY) as through:
                yield through, was_cancelled
            listening.cancel()
    finally:
        process.kill()
        await process.wait()


async def seen_by(command: tuple[str, ...], *arguments: str) -> Any:
    """What a client prints, which is what its user saw."""
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        said, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode(errors="replace")
    return json.loads(said)
