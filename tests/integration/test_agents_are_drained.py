"""SIGTERM ends an agent with its last answer: nobody new comes in, and whoever waits is served in time."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.admin import Admin, with_admin
from tests.fakes.commands import Command
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mcp_server import STREAM, Message, echo, event, result_of, serving_mcp
from tests.fakes.mesh import LIVE, Log, Site, provider_at

PATIENCE = 20.0  # seconds; only a failure takes so long
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


@dataclass
class Pair:
    """Two agents before a server that streams if asked to: progress at once, and the result when told."""

    folder: Path
    agents: dict[str, Command]
    client: Plain
    admin: Admin
    finish: asyncio.Event = field(default_factory=asyncio.Event)

    def outcomes(self, side: str) -> list[str]:
        return [record["outcome"] for record in Log(self.folder / f"{side}.jsonl").records()]

    async def stopped(self, side: str) -> int:
        return await self.agents[side].ended()


@asynccontextmanager
async def running_pair(folder: Path, drain: int) -> AsyncIterator[Pair]:
    site = Site(folder, drain=drain)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        agents: dict[str, Command] = {}

        async def started(side: str, config: Path) -> Any:
            running = commands.running("agent", "--config", with_admin(config), log=folder / f"{side}.err")
            agents[side] = await stack.enter_async_context(running)
            return await agents[side].ready()

        ingress = await started("ingress", site.ingress_config(provider.address, server.url))
        egress = await started("planner", site.egress_config(provider.address, ingress["ingress"]))
        client, admin = Plain(Address.parse(egress["egress"])), Admin(f"http://{ingress['admin']}")
        pair = Pair(folder, agents, client, admin)

        async def in_two_parts(message: Message, reply: Reply) -> None:
            if message["params"]["arguments"]["text"] != "stream":
                await echo(message, reply)
                return
            await reply.start(STREAM)
            await reply.write(event(PROGRESS))
            await pair.finish.wait()
            await reply.write(event(result_of(message, "done")))
            reply.finish()

        server.answer = in_two_parts
        yield pair
        client.close()


async def nobody_new_comes_in(pair: Pair, side: str) -> None:
    """Return once the agent lets nobody in: by the kernel, or by what its neighbour says of it."""
    newcomer = Plain(pair.client.address)
    with suppress(ConnectionError, Refused):
        async with asyncio.timeout(PATIENCE):
            while (await newcomer.ask(call("echo", text="late"))).status == 200:
                pass
            assert side == "ingress"


@pytest.mark.parametrize("side", ["ingress", "planner"])
async def test_a_streamed_answer_runs_to_its_end(folder: Path, side: str) -> None:
    async with running_pair(folder, drain=60) as pair:
        async with await pair.client.begin(call("echo", text="stream")) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            pair.agents[side].signal(signal.SIGTERM)
            await nobody_new_comes_in(pair, side)
            pair.finish.set()
            assert b"done" in b"".join([chunk async for chunk in chunks])
        assert await pair.stopped(side) == 0
    assert set(pair.outcomes(side)) == {"completed"}


@pytest.mark.parametrize("how", ["grace", "again"])
async def test_a_stream_without_an_end_is_cut_when_the_grace_is_over_or_at_a_second_signal(
    folder: Path, how: str
) -> None:
    async with running_pair(folder, drain=1 if how == "grace" else 600) as pair:
        async with await pair.client.begin(call("echo", text="stream")) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            pair.agents["ingress"].signal(signal.SIGTERM)
            if how == "again":
                await pair.admin.until(Reason.DRAINING.code)
                pair.agents["ingress"].signal(signal.SIGTERM)
            with pytest.raises(Refused):
                [chunk async for chunk in chunks]
        assert await pair.stopped("ingress") == 0
    assert pair.outcomes("ingress") == ["cancelled"]


async def test_connections_that_wait_for_nothing_delay_nothing(folder: Path) -> None:
    async with running_pair(folder, drain=600) as pair:
        await pair.client.ask(call("echo", text="x"))
        for side in ("planner", "ingress"):
            assert await pair.agents[side].stopped() == 0
    assert pair.outcomes("ingress") == pair.outcomes("planner") == ["completed"]
