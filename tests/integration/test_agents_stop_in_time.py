"""Without a grace SIGTERM ends an agent at once and well; what was running is on record as cancelled."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Reply
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Plain, call
from tests.fakes.mcp_server import STREAM, Message, event, serving_mcp
from tests.fakes.mesh import LIVE, Log, Site, provider_at

PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


@pytest.mark.parametrize("first", ["egress", "ingress"])
async def test_with_a_stream_running_and_a_call_waiting(folder: Path, first: str) -> None:
    site = Site(folder, drain=0)
    site.sign_manifest()
    site.write_policy()
    waiting = asyncio.Event()

    async def endless(message: Message, reply: Reply) -> None:
        if message["params"]["arguments"]["text"] == "stream":
            await reply.start(STREAM)
            await reply.write(event(PROGRESS))
        else:
            waiting.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        server.answer = endless
        config = site.ingress_config(provider.address, server.url)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        ingress = await stack.enter_async_context(running)
        config = site.egress_config(provider.address, (await ingress.ready())["ingress"])
        running = commands.running("agent", "--config", config, log=folder / "egress.err")
        egress = await stack.enter_async_context(running)
        client = Plain(Address.parse((await egress.ready())["egress"]))
        async with await client.begin(call("echo", text="stream")) as response, asyncio.TaskGroup() as tasks:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            tasks.create_task(left_alone(client))
            await waiting.wait()
            agents = [egress, ingress] if first == "egress" else [ingress, egress]
            assert [await agent.stopped() for agent in agents] == [0, 0]
            with pytest.raises(Refused):
                await anext(chunks)
    for side in ("ingress", "planner"):
        log = Log(folder / f"{side}.jsonl")
        assert log.report().intact
        assert len(log.records()) == 2
        assert {record["outcome"] for record in log.records()} <= {"cancelled", "refused"}
    stopped = Log(folder / ("planner.jsonl" if first == "egress" else "ingress.jsonl"))
    assert [record["outcome"] for record in stopped.records()] == ["cancelled", "cancelled"]


async def left_alone(client: Plain) -> None:
    """The call that waits is cut off, or answered that the other side is gone; it never gets a result."""
    try:
        answer = await client.ask(call("echo", text="wait"))
    except Refused:
        return
    assert answer.status == 503
