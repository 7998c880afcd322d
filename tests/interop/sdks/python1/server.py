"""A server of the Python SDK 1.x. Prints its URL."""

# Of another version of the SDK than the one that is installed here.
# mypy: ignore-errors

import asyncio
import socket
import sys

import uvicorn
from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("python1")


@server.tool()
async def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> int:
    """Count, and say how far."""
    for number in range(to):
        await ctx.report_progress(number, to)
    return to


@server.tool()
async def wait(ctx: Context) -> str:
    """Say once that it runs, and then nothing until it is cancelled."""
    await ctx.report_progress(0, 1)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        sys.stdout.write("cancelled\n")
        sys.stdout.flush()
        raise
    return "never"


@server.tool()
async def forbidden() -> str:
    """What policy lets nobody call."""
    return "reached"


listener = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning")).run(sockets=[listener])
