"""On a node, whoever the kernel does not name has no identity to call with: told so, and recorded.

The agent is a process of its own, of which the callers are outside: it runs in a PID namespace below theirs.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from spiffe_mcp.errors import Reason
from tests.fakes import commands
from tests.fakes.commands import COMMAND, Command
from tests.fakes.local_client import local_client
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mesh import PLANNER, SERVER, USER, Log, provider_at
from tests.fakes.node import STRANGERS, needs_root

pytestmark = needs_root


@asynccontextmanager
async def below(config: Path) -> AsyncIterator[Any]:
    """An agent in a PID namespace of its own; yields what it announces."""
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--pid", "--fork", "--kill-child", *COMMAND, "agent", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield await Command(process).ready()
    finally:
        process.kill()
        await process.wait()


def node_config(folder: Path, workload_api: str) -> Path:
    """An egress for everybody. Nobody answers at its admin socket: it is not to be asked for anybody."""
    server = {"name": "desk", "spiffe_id": str(SERVER), "address": "127.0.0.1:1"}
    identity = {
        "source": "delegated",
        "socket": workload_api,
        "spiffe_id": str(PLANNER),
        "delegated": {"socket": f"unix://{folder}/admin.sock"},
    }
    egress = {"listen": f"unix:{folder}/egress.sock", "user": USER, "servers": [server]}
    audit = {"file": "egress.jsonl", "fsync": "never"}
    path = folder / "egress.yaml"
    path.write_text(yaml.safe_dump({"identity": identity, "egress": egress, "audit": audit}))
    return path


async def test_a_process_outside_the_pid_namespace_of_the_agent_is_refused(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        announced = await stack.enter_async_context(below(node_config(folder, provider.address)))
        client = Plain(Path(announced["egress"]))
        answer = await client.ask(call("echo", text="who am I?"))
        client.close()
    assert (answer.status, answer.reason) == (403, Reason.WORKLOAD_PID_UNKNOWN.code)
    record = Log(folder / "egress.jsonl").last()
    assert (record["decision"], record["reason"]) == ("refuse", Reason.WORKLOAD_PID_UNKNOWN.code)
    assert record["tool"] == "echo"
    assert {"caller", "process"} & record.keys() == set()


async def test_the_agents_own_identity_is_not_lent_to_local_callers(folder: Path) -> None:
    """Not even when there is no other: nobody can be asked for the caller's own."""
    os.chmod(folder, 0o755)  # noqa: PTH101, S103  everybody may reach the egress
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        config = node_config(folder, provider.address)
        running = commands.running("agent", "--config", config, log=folder / "egress.err")
        announced = await (await stack.enter_async_context(running)).ready()
        assert announced["spiffe_id"] == str(PLANNER)
        egress = Path(announced["egress"])
        assert os.stat(egress).st_mode & 0o777 == 0o666  # noqa: PTH116
        stranger = await stack.enter_async_context(local_client(egress, STRANGERS))
        answer = await stranger.ask(call("echo", text="as you?"))
        record = Log(folder / "egress.jsonl").last()
        assert record["process"] == f"pid {stranger.pid} uid {STRANGERS} gid {STRANGERS}"
    assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
    assert "caller" not in record
