"""Through both agents, the official SDK subscribes, and hears of what policy permits it."""

from pathlib import Path
from typing import Final

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from tests.fakes.mesh import PLANNER, SERVER, Log, Site, provider_at, running_agent
from tests.fakes.sdk import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY: Final = """
package mcp.authz

default decision := {"allow": false}

decision := {"allow": true, "rule": "open"} if {
	input.action in {"server/discover", "subscriptions/listen", "tools/list", "tools/call"}
}

decision := {"allow": true, "rule": "read"} if {
	input.action == "resources/read"
	input.resource == "demo://open"
}

visible_tools contains tool.name if some tool in input.tools
"""


def changing_server() -> MCPServer:
    """A server whose tool tells everybody of everything."""
    server = MCPServer("changing", log_level="WARNING")

    @server.tool()
    async def change(ctx: Context) -> str:
        """Tells of changes."""
        await ctx.notify_prompts_changed()
        await ctx.notify_resource_updated("demo://secret")
        await ctx.notify_resource_updated("demo://open")
        await ctx.notify_tools_changed()
        return "told"

    return server


async def test_a_client_hears_of_what_it_may_have(folder: Path) -> None:
    server = changing_server()
    async with served(server) as url:
        tools = [tool.model_dump(by_alias=True, exclude_none=True) for tool in await server.list_tools()]
        site = Site(folder)
        site.sign_manifest(tools=tools)
        site.write_policy(POLICY)
        async with (
            provider_at(folder) as provider,
            running_agent(site.ingress_config(provider.address, url)) as ingress,
            running_agent(
                site.egress_config(provider.address, str(ingress.ingress), PLANNER, SERVER)
            ) as egress,
            Client(f"http://{egress.egress}/desk/mcp", mode="2026-07-28") as client,
        ):
            async with client.listen(
                tools_list_changed=True,
                prompts_list_changed=True,
                resource_subscriptions=["demo://open", "demo://secret"],
            ) as subscription:
                assert not subscription.honored.prompts_list_changed
                assert subscription.honored.resource_subscriptions == ["demo://open"]
                await client.call_tool("change", {})
                heard = [await anext(aiter(subscription)) for _ in range(2)]
            assert {type(event).__name__ for event in heard} == {"ResourceUpdated", "ToolsListChanged"}
    (record,) = (
        record
        for record in Log(folder / "ingress.jsonl").records()
        if record["action"] == "subscriptions/listen"
    )
    assert (record["decision"], record["outcome"]) == ("allow", "completed")
