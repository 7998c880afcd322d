"""A desktop client's configuration, as the guide prints it, is a server of the mesh: `spiffe-mcp connect`."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters

from spiffe_mcp.dev import demo
from spiffe_mcp.dev.workspace import NAME, Workspace
from tests.fakes import commands
from tests.fakes.mcp_client import now
from tests.fakes.mesh import Log

GUIDE = Path(__file__).parents[2] / "docs/guides/desktop-clients.md"
DEMO = "127.0.0.1:7070"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}}


def documented(egress: str) -> StdioServerParameters:
    """The server that the guide's configuration names, at this egress, by this installation's command."""
    block = re.search(r"^```json\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    server = json.loads(block.group(1))["mcpServers"][NAME]
    command = shutil.which("spiffe-mcp", path=str(Path(sys.executable).parent))
    assert command is not None
    assert DEMO in server["args"]
    args = [egress if argument == DEMO else argument for argument in server["args"]]
    return StdioServerParameters(command=command, args=args)


def connect(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command's end, with one message to carry."""
    message = json.dumps(DISCOVER).encode() + b"\n"
    command = [*commands.COMMAND, "connect", *arguments]
    return subprocess.run(
        command,
        input=message,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Workspace, str]]:
    """The demo, and the address of its egress."""
    workspace = Workspace(folder)
    workspace.claim()
    async with demo.running(workspace, clock=now, progress=lambda _: None) as mesh:
        yield workspace, mesh.url.split("/")[2]


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy", "auto"])
async def test_a_desktop_client_calls_tools_and_is_refused(folder: Path, mode: str) -> None:
    async with running(folder) as (workspace, egress), Client(documented(egress), mode=mode) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"approve_payment", "convert", "get_invoice", "list_invoices"}
        converted = await client.call_tool("convert", {"amount": 100, "currency": "CHF"})
        assert converted.structured_content == {"result": 94.0}
        with pytest.raises(MCPError, match="ask your manager"):
            await client.call_tool("approve_payment", {"number": "A-1003", "amount": 48000})
    calls = [record for record in Log(workspace.audit_log("ingress")).records() if "tool" in record]
    assert [(record["tool"], record["decision"]) for record in calls] == [
        ("convert", "allow"),
        ("approve_payment", "refuse"),
    ]


async def test_the_environment_can_say_where_the_egress_is(folder: Path) -> None:
    async with running(folder) as (_, egress):
        ran = await asyncio.to_thread(connect, NAME, SPIFFE_MCP_EGRESS=egress)
    assert "2026-07-28" in json.loads(ran.stdout)["result"]["supportedVersions"]
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_no_agent_is_an_answer_and_no_hang(tmp_path: Path) -> None:
    ran = connect("desk", "--egress", f"unix:{tmp_path}/none.sock")
    assert json.loads(ran.stdout)["error"]["data"] == {"reason": "upstream.unreachable"}
    assert ran.returncode == 0


@pytest.mark.parametrize("arguments", [("UPPER",), ("desk", "--egress", "nowhere")])
def test_wrong_usage_is_said_at_once(arguments: tuple[str, ...]) -> None:
    ran = commands.run("connect", *arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(tmp_path: Path, stop: signal.Signals) -> None:
    command = [*commands.COMMAND, "connect", "desk", "--egress", f"unix:{tmp_path}/none.sock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"nonsense\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["error"]["code"] == -32700  # it runs, and heeds signals
        process.send_signal(stop)
        assert process.wait(commands.STOP_TIMEOUT) == 0
