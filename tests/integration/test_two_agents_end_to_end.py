"""The mesh as it is deployed: two agent processes from configuration files, an MCP server, an SDK client.

Once with the embedded SPIFFE provider, once with real SPIRE: nothing else differs.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from mcp import Client, MCPError

from spiffe_mcp.dev import demo_server
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.dev.workspace import AI_AGENT, NAME, SERVER, TRUST_DOMAIN, Workspace
from spiffe_mcp.errors import Reason
from tests.fakes import commands, spire
from tests.fakes.commands import Command
from tests.fakes.mcp_client import now
from tests.fakes.mesh import Log

WorkloadApi: TypeAlias = Callable[[Path], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[str]:
    entries = [Entry(identity, os.getuid()) for identity in (AI_AGENT, SERVER)]
    async with Provider(TRUST_DOMAIN, folder / "api.sock", entries, clock=now) as provider:
        yield provider.address


@asynccontextmanager
async def real_spire(folder: Path) -> AsyncIterator[str]:
    entries = [(str(identity), os.getuid()) for identity in (AI_AGENT, SERVER)]
    running = spire.running_spire(folder, str(TRUST_DOMAIN), entries)
    address = await asyncio.to_thread(running.__enter__)
    try:
        yield address
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


PROVIDERS = [
    pytest.param(embedded, id="embedded provider"),
    pytest.param(
        real_spire, id="SPIRE", marks=pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)
    ),
]


@asynccontextmanager
async def demo_mcp_server(workspace: Workspace) -> AsyncIterator[str]:
    with workspace.server_log.open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(commands.COMMAND[0], "-m", demo_server.__name__), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{(await server.stdout.readline()).decode().strip()}/mcp"
    finally:
        server.kill()
        await server.wait()


async def agent(stack: AsyncExitStack, workspace: Workspace, side: str) -> Command:
    arguments = ("agent", "--config", workspace.config(side))
    log = workspace.folder / f"{side}.err"
    return await stack.enter_async_context(commands.running(*arguments, log=log))


async def use(url: str, mode: str) -> None:
    """What a user does: look what there is, call it, and be refused what is not theirs."""
    async with Client(url, mode=mode) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"approve_payment", "convert", "get_invoice", "list_invoices"}
        converted = await client.call_tool("convert", {"amount": 100, "currency": "CHF"})
        assert converted.structured_content == {"result": 94.0}
        with pytest.raises(MCPError, match="ask your manager"):
            await client.call_tool("approve_payment", {"number": "A-1003", "amount": 48000})
        with pytest.raises(MCPError, match="Unknown tool: export_ledger"):
            await client.call_tool("export_ledger", {})


@pytest.mark.parametrize("workload_api", PROVIDERS)
async def test_a_user_calls_tools_through_two_agents_and_both_can_prove_it(
    folder: Path, workload_api: WorkloadApi
) -> None:
    workspace = Workspace(folder)
    reviewed = await demo_server.reviewed().list_tools()
    tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in reviewed]
    workspace.write_signed(tools, now())
    workspace.write_policy()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(workload_api(folder))
        workspace.write_ingress(api, await stack.enter_async_context(demo_mcp_server(workspace)))
        ingress = await agent(stack, workspace, "ingress")
        announced = await ingress.ready()
        assert announced["spiffe_id"] == str(SERVER)
        workspace.write_egress(api, "127.0.0.1:0", announced["ingress"])
        egress = await agent(stack, workspace, "egress")
        announced = await egress.ready()
        assert announced["spiffe_id"] == str(AI_AGENT)
        for mode in ("2026-07-28", "legacy"):
            await use(f"http://{announced['egress']}/{NAME}/mcp", mode)
        assert await egress.stopped() == 0
        assert await ingress.stopped() == 0
    check_evidence(Log(workspace.audit_log("egress")), Log(workspace.audit_log("ingress")))


def check_evidence(egress: Log, ingress: Log) -> None:
    """Both logs are whole, and tell of the same exchanges, once each."""
    for log in (egress, ingress):
        assert log.report().intact
    sent, arrived = egress.records(), ingress.records()
    # A legacy client also asks for a stream of notifications, which is refused and goes nowhere.
    stayed = [record["reason"] for record in sent if "txn" not in record]
    assert set(stayed) <= {Reason.HTTP_METHOD.code}
    txns = [record["txn"] for record in sent if "txn" in record]
    assert len(set(txns)) == len(txns)
    assert sorted(txns) == sorted(record["txn"] for record in arrived)
    tools = [(record["tool"], record["decision"]) for record in arrived if record["action"] == "tools/call"]
    tried = [("convert", "allow"), ("approve_payment", "refuse"), ("export_ledger", "refuse")]
    assert tools == tried * 2
    for record in arrived:
        assert (record["peer"], record["caller"]) == (str(AI_AGENT), str(AI_AGENT))
        assert record["user"] == "alice@example.com"
