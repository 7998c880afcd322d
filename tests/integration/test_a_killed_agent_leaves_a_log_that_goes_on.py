"""SIGKILL in the middle of calls: no answer was given without its record, and the chain goes on after it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.commands import Command
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, Log, Site, provider_at

CALLERS: Final = 8
KILLED_AFTER: Final = 40  # answers


class Pair:
    """An ingress and an egress as processes, and a client of theirs."""

    def __init__(self, agents: dict[str, Command], client: Plain) -> None:
        self.agents = agents
        self.client = client


@asynccontextmanager
async def pair(folder: Path, workload_api: str, upstream: str) -> AsyncIterator[Pair]:
    """Both, from the same files each time."""
    site = Site(folder)
    async with AsyncExitStack() as stack:
        config = site.ingress_config(workload_api, upstream)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        ingress = await stack.enter_async_context(running)
        config = site.egress_config(workload_api, (await ingress.ready())["ingress"])
        running = commands.running("agent", "--config", config, log=folder / "egress.err")
        egress = await stack.enter_async_context(running)
        client = Plain(Address.parse((await egress.ready())["egress"]))
        stack.callback(client.close)
        yield Pair({"ingress": ingress, "planner": egress}, client)


async def call_until_refused(client: Plain, answered: list[str], enough: asyncio.Event, name: int) -> None:
    """One call after the other, until one comes to nothing."""
    for number in range(10_000):
        text = f"{name}-{number}"
        try:
            answer = await client.ask(call("echo", text=text))
        except (Refused, OSError):
            return
        if answer.status != 200:
            return
        answered.append(answer.text)
        if len(answered) >= KILLED_AFTER:
            enough.set()


@pytest.mark.parametrize("victim", ["ingress", "planner"])
async def test_every_answer_that_was_given_has_its_record_and_the_chain_goes_on(
    folder: Path, victim: str
) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    log = Log(folder / f"{victim}.jsonl")
    async with provider_at(folder) as provider, serving_mcp(LIVE) as server:
        answered: list[str] = []
        enough = asyncio.Event()
        async with pair(folder, provider.address, server.url) as agents, asyncio.TaskGroup() as calling:
            for name in range(CALLERS):
                calling.create_task(call_until_refused(agents.client, answered, enough, name))
            await enough.wait()
            agents.agents[victim].signal(signal.SIGKILL)
        left = log.path.read_bytes()
        whole_lines = left.count(b"\n")
        report = log.report()
        assert report.count == whole_lines, "a whole line that is no record"
        assert report.intact == left.endswith(b"\n"), "what is torn is said to be, and nothing else is"
        records = [json.loads(line) for line in left.splitlines(keepends=True) if line.endswith(b"\n")]
        completed = [record for record in records if record["outcome"] == "completed"]
        assert len(completed) >= len(answered)

        async with pair(folder, provider.address, server.url) as agents:
            assert (await agents.client.ask(call("echo", text="again"))).text == "again"
        assert log.report().intact
        assert log.report().count > whole_lines
