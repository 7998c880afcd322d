"""An MCP server over stdio that is written with the official SDK: `python sdk_program.py`."""

import os

import mcp_types
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

server = MCPServer("program", log_level="WARNING")


class Amount(BaseModel):
    """What the user fills in."""

    euros: int


@server.tool()
def pid() -> int:
    """The process that answers."""
    return os.getpid()


@server.tool()
async def count(to: int, ctx: Context) -> int:
    """Counts, and says how far it is."""
    for number in range(to):
        await ctx.report_progress(number, to)
    return to


@server.tool()
async def order(ctx: Context) -> str:
    """Asks its client for an amount, and for a word."""
    amount = await ctx.elicit("How much?", Amount)
    text = mcp_types.TextContent(type="text", text="A word?")
    message = mcp_types.SamplingMessage(role="user", content=text)
    word = await ctx.session.create_message([message], max_tokens=5)
    assert amount.action == "accept"
    return f"{amount.data.euros} {word.content}"


if __name__ == "__main__":
    server.run("stdio")
