"""A client of the Python SDK 2.x. Arguments: URL, mode. Prints what its user sees."""

import asyncio
import json
import sys
from typing import Any

from mcp import Client
from mcp_types import TextContent


async def main(url: str, mode: Any) -> dict[str, object]:
    heard: list[float] = []
    started = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async def runs(progress: float, total: float | None, message: str | None) -> None:
        started.set()

    async with Client(url, mode=mode) as client:
        listed = sorted(tool.name for tool in (await client.list_tools()).tools)
        called = await client.call_tool("add", {"a": 2, "b": 3})
        await client.call_tool("count", {"to": 3}, progress_callback=hear)
        try:
            refused = repr(await client.call_tool("forbidden", {}))
        except Exception as error:  # noqa: BLE001  whatever its user sees
            refused = f"{type(error).__name__}: {error}"
        call = client.call_tool("wait", {}, progress_callback=runs)
        waiting = asyncio.create_task(call)  # noqa: TID251  awaited below
        await started.wait()
        waiting.cancel()
        [ended] = await asyncio.gather(waiting, return_exceptions=True)
        return {
            "revision": client.protocol_version,
            "listed": listed,
            "called": [content.text for content in called.content if isinstance(content, TextContent)],
            "progress": heard,
            "refused": refused,
            "cancelled": type(ended).__name__,
        }


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
