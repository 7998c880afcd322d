"""Two agents before any MCP server, which allow everything unless they are told otherwise.

    async with meshed(url, folder) as through: ...      # `through` is the URL that leads to `url`

The manifest is what the server lists: the publisher's part, done blindly. Where it lists nothing, the
manifest has a tool that the server has not, because one without tools is none. Without another
one, the policy allows everything, what a server asks of its client included.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from spiffe_mcp.http import HttpClient
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh.targets import parse_target
from spiffe_mcp.mesh.upstream.connect import connector
from spiffe_mcp.mesh.upstream.inspection import Inspection
from spiffe_mcp.strict_json import JsonObject
from tests.fakes.mesh import Site, provider_at, running_agent

ALLOW_ALL: Final = """
package mcp.authz

import rego.v1

default decision := {"allow": true, "rule": "all", "reason": "everything is allowed"}

visible_tools contains tool.name if some tool in input.tools
"""

_ABSENT: Final[JsonObject] = {"name": "absent", "inputSchema": {"type": "object"}}


@asynccontextmanager
async def meshed(url: str, folder: Path, policy: str = ALLOW_ALL) -> AsyncIterator[str]:
    """Provider, ingress and egress, with their files in `folder`."""
    site = Site(folder)
    site.sign_manifest(tools=await listed(url) or [_ABSENT])
    site.write_policy(policy)
    async with provider_at(folder) as provider:
        before = site.ingress_config(provider.address, url)
        async with running_agent(before) as ingress:
            beside = site.egress_config(provider.address, str(ingress.ingress))
            async with running_agent(beside) as egress:
                yield f"http://{egress.egress}/desk/mcp"


async def listed(url: str) -> list[JsonObject]:
    """All tools that the server there lists, asked as an ingress asks."""
    target = parse_target(url)
    client = HttpClient(connector(target))
    try:
        tools, _ = await Inspection(target, client.send, Era.LEGACY).tools()
    finally:
        client.retire()
    return list(tools)
