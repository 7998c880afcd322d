"""The server that every client calls: one tool for each thing that a client may see."""

import asyncio
from typing import Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

FORBIDDEN: Final = "Ask your manager."
POLICY: Final = f"""
package mcp.authz

import rego.v1

default decision := {{"allow": true, "rule": "all", "reason": "everything else is allowed"}}

decision := {{"allow": false, "rule": "forbidden", "visibility": "offered", "message": "{FORBIDDEN}"}} if {{
	input.tool.name == "forbidden"
}}

visible_tools contains tool.name if some tool in input.tools
"""


class ReferenceServer:
    """The server, and which of its calls were cancelled."""

    def __init__(self) -> None:
        self.was_cancelled = asyncio.Event()
        self.server = MCPServer("reference", version="1")
        for tool in (self.add, self.count, self.wait, self.forbidden):
            self.server.tool()(tool)

    async def add(self, a: int, b: int) -> int:
        """The sum of two numbers."""
        return a + b

    async def count(self, to: int, ctx: Context) -> int:
        """Count, and say how far."""
        for number in range(to):
            await ctx.report_progress(number, to)
        return to

    async def wait(self, ctx: Context) -> str:
        """Say once that it runs, and then nothing until it is cancelled."""
        await ctx.report_progress(0, 1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        return "never"

    async def forbidden(self) -> str:
        """What policy lets nobody call."""
        return "reached"
