"""A client of the Python SDK 1.x. Argument: URL. Prints what its user sees."""

# Of another version of the SDK than the one that is installed here.
# mypy: ignore-errors

import asyncio
import json
import sys

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client


async def main(url: str) -> dict[str, object]:
    heard: list[float] = []
    started = asyncio.Event()

    async def hear(progress: float, _total: float | None, _message: str | None) -> None:
        heard.append(progress)

    async def runs(_progress: float, _total: float | None, _message: str | None) -> None:
        started.set()

    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as client:
        revision = (await client.initialize()).protocolVersion
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
        # It says nothing by itself when a call is cancelled; whoever wants to has to.
        params = types.CancelledNotificationParams(requestId=client._request_id - 1)
        await client.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        return {
            "revision": revision,
            "listed": listed,
            "called": [content.text for content in called.content],
            "progress": heard,
            "refused": refused,
            "cancelled": type(ended).__name__,
        }


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
