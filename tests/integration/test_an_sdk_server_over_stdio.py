"""The official SDK on both ends: its client speaks HTTP, its server stdio, and two agents are in between."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import mcp_types
import pytest
from mcp import Client, MCPError

from tests.fakes import sdk_program
from tests.fakes.mesh import Site, provider_at, running_agent

PROGRAM: Final = [sys.executable, str(Path(sdk_program.__file__))]
MODES: Final = ["2026-07-28", "legacy", "auto"]
POLICY: Final = """
package mcp.authz
decision := {"allow": true, "rule": "everything"}
visible_tools contains tool.name if some tool in input.tools
"""


@asynccontextmanager
async def url_before(folder: Path, **upstream: Any) -> AsyncIterator[str]:
    """Where an egress offers the program."""
    listed = await sdk_program.server.list_tools()
    site = Site(folder)
    site.sign_manifest(tools=[tool.model_dump(by_alias=True, exclude_none=True) for tool in listed])
    site.write_policy(POLICY)
    async with provider_at(folder) as provider:
        config = site.ingress_config(provider.address, {"stdio": PROGRAM, **upstream})
        async with running_agent(config) as ingress:
            config = site.egress_config(provider.address, str(ingress.ingress))
            async with running_agent(config) as egress:
                yield f"http://{egress.egress}/desk/mcp"


async def result_of(client: Client, tool: str, **arguments: Any) -> Any:
    called = await client.call_tool(tool, arguments)
    assert not called.is_error, called
    assert called.structured_content is not None
    return called.structured_content["result"]


@pytest.mark.parametrize("processes", ["session", "shared"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_lists_calls_and_is_told_of_progress(folder: Path, mode: str, processes: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with url_before(folder, processes=processes) as url, Client(url, mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"pid", "count", "order"}
        counted = await client.call_tool("count", {"to": 3}, progress_callback=hear)
        assert counted.structured_content == {"result": 3}
        assert heard == [0, 1, 2]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("none", {})


@pytest.mark.parametrize(
    ("mode", "processes", "count"),
    [
        ("legacy", "session", 2),
        ("legacy", "shared", 1),
        ("2026-07-28", "session", 1),
    ],
)
async def test_two_clients_have_as_many_processes_as_was_said(
    folder: Path, mode: str, processes: str, count: int
) -> None:
    async with (
        url_before(folder, processes=processes) as url,
        Client(url, mode=mode) as one,
        Client(url, mode=mode) as other,
    ):
        pids = await asyncio.gather(*[result_of(client, "pid") for client in (one, other, one, other)])
    assert len(set(pids)) == count


async def elicited(context: Any, params: Any) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"euros": 7})


async def sampled(context: Any, params: Any) -> mcp_types.CreateMessageResult:
    content = mcp_types.TextContent(type="text", text="yes")
    return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")


# Deprecated in 2026-07-28, and what legacy servers do.
@pytest.mark.filterwarnings("ignore:The sampling capability is deprecated")
async def test_a_server_asks_the_client_whose_process_it_is(folder: Path) -> None:
    async with (
        url_before(folder) as url,
        Client(url, mode="legacy", elicitation_callback=elicited, sampling_callback=sampled) as client,
    ):
        result = await client.call_tool("order", {})
    assert not result.is_error, result
    assert "7 " in str(result.content)
    assert "yes" in str(result.content)


async def test_a_server_that_is_shared_asks_nobody(folder: Path) -> None:
    async with (
        url_before(folder, processes="shared") as url,
        Client(url, mode="legacy", elicitation_callback=elicited) as client,
    ):
        with pytest.raises(MCPError, match="Method not found"):
            await client.call_tool("order", {})
