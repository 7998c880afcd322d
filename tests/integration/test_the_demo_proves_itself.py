"""`spiffe-mcp dev`: the mesh on one machine, and what it leaves behind for whoever wants to check."""

import json
import socket
from pathlib import Path

from mcp import Client

from tests.fakes import commands

STEP = {"era", "tool", "outcome", "reason", "expected"}


def test_once_ends_well_and_leaves_evidence_that_the_other_commands_verify(folder: Path) -> None:
    kept = folder / "kept"
    ended = commands.run("dev", "--once", "--json", "--keep", kept)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert document.keys() == {"ok", "steps", "audit"}
    assert document["ok"] is True
    assert all(step.keys() == STEP and step["expected"] for step in document["steps"])
    assert {step["era"] for step in document["steps"]} == {"modern", "legacy"}
    assert {step["outcome"] for step in document["steps"]} == {"listed", "not listed", "called", "refused"}
    assert {record["decision"] for record in document["audit"]} == {"allow", "refuse"}

    index = json.loads((kept / "index.json").read_text())
    server = index.pop("server")
    paths = {name: kept / file for name, file in index.items()}
    assert all(path.is_file() for path in paths.values()), paths
    verified = commands.run(
        "manifest", "verify", paths["manifest"], "--policy", paths["trust_policy"], "--server", server
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    for log in ("audit_log", "egress_audit_log"):
        verified = commands.run("audit", "verify", paths[log])
        assert verified.returncode == 0, verified.stdout + verified.stderr
    # A stream of a session is recorded when it ends, and shown where it began.
    records = [json.loads(line) for line in paths["audit_log"].read_text().splitlines()]
    assert document["audit"] == sorted(records, key=lambda record: str(record["time"]))
    assert {path.stat().st_mode & 0o077 for path in kept.glob("*.pem")} == {0}, "keys are the owner's alone"


async def test_it_stays_up_for_an_mcp_client_until_sigterm(folder: Path) -> None:
    """On a port of the kernel's choice, which it prints."""
    async with commands.running(
        "dev", "--listen", "127.0.0.1:0", "--keep", folder / "kept", log=folder / "err"
    ) as dev:
        line = await dev.line("Point an MCP client at ")
        url = line.removeprefix("Point an MCP client at ").partition(",")[0]
        async with Client(url) as client:
            result = await client.call_tool("list_invoices", {})
        assert result.structured_content == {"result": ["A-1001", "A-1002", "A-1003"]}
        assert await dev.stopped() == 0


def test_a_port_that_is_taken_is_said_at_once(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = commands.run("dev", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 1
    assert "listen.failed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_json_without_once_is_wrong_usage() -> None:
    assert commands.run("dev", "--json").returncode == 2
