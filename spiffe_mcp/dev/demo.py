"""The whole mesh on one machine: SPIFFE provider, two agents and an MCP server, until the block ends.

It is wired as a deployment is, over real sockets, from configuration files that the `agent` command could
run. Only the process is shared: provider and agents run on one event loop; the MCP server is a process of
its own.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from spiffe_mcp.agent import agent
from spiffe_mcp.agent.agent import Ready
from spiffe_mcp.agent.config import load
from spiffe_mcp.dev import demo_server
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.dev.workspace import AI_AGENT, NAME, SERVER, TRUST_DOMAIN, Workspace
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject

Progress = Callable[[str], None]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that is up: where an MCP client has to be pointed."""

    url: str
    workload_api: str


@asynccontextmanager
async def running(
    workspace: Workspace, *, clock: Clock, progress: Progress, listen: str = "127.0.0.1:0"
) -> AsyncIterator[Mesh]:
    """The demo mesh. `listen` is where local MCP clients reach the egress."""
    progress("a publisher reviews the MCP server's tools and signs a manifest of them")
    workspace.write_signed(await _reviewed_tools(), clock())
    workspace.write_policy()
    entries = [Entry(identity, os.getuid()) for identity in (AI_AGENT, SERVER)]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_mcp_server(workspace))
        progress(f"MCP server on {upstream}: an ordinary one, changed since it was signed")
        provider = Provider(TRUST_DOMAIN, workspace.socket, entries, clock=clock)
        await stack.enter_async_context(provider)
        progress(f"SPIFFE provider for {TRUST_DOMAIN}: a throw-away authority and a Workload API")
        workspace.write_bundles(provider.issued.bundles)
        workspace.write_ingress(provider.address, upstream)
        ingress = await stack.enter_async_context(_agent(workspace, "ingress", clock))
        progress(f"ingress agent {ingress.spiffe_id} on {ingress.ingress}, mutual TLS")
        workspace.write_egress(provider.address, listen, str(ingress.ingress))
        egress = await stack.enter_async_context(_agent(workspace, "egress", clock))
        progress(f"egress agent {egress.spiffe_id} on {egress.egress}")
        yield Mesh(f"http://{egress.egress}/{NAME}/mcp", provider.address)


async def _reviewed_tools() -> list[JsonObject]:
    """The tools of the reviewed server, as it would list them."""
    tools = await demo_server.reviewed().list_tools()
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


@asynccontextmanager
async def _agent(workspace: Workspace, side: str, clock: Clock) -> AsyncIterator[Ready]:
    """One agent, run from its configuration file; what stops it stops the block."""
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    config = load(workspace.config(side))
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(agent.run(config, clock=clock, on_ready=ready.set_result))
        yield await ready
        serving.cancel()


@asynccontextmanager
async def _mcp_server(workspace: Workspace) -> AsyncIterator[str]:
    """The demo's MCP server as a process of its own; yields its URL."""
    with workspace.server_log.open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", demo_server.__name__), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        assert server.stdout is not None  # noqa: S101  it is a pipe
        port = (await server.stdout.readline()).decode().strip()
        if not port:
            raise Refused(
                Reason.UPSTREAM_UNREACHABLE, f"the MCP server did not start; see {workspace.server_log}"
            )
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
