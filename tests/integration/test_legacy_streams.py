"""Through both agents, a client listens to its session, and goes on where a stream of its own broke."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request, ResponseHead
from tests.fakes.mcp_client import Plain, initialize, legacy, listen, now
from tests.fakes.mcp_server import STREAM, Message, event
from tests.fakes.mesh import POLICY, Mesh, running_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGED: Final = b'{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}'
PRIMING: Final = b"id: e1\ndata:\n\n"


async def opened(client: Plain) -> bytes:
    return dict((await client.ask(initialize())).headers)[b"mcp-session-id"]


class Streams:
    """A server that breaks its answers off and goes on with them by GET, as one with an event store does."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.more = asyncio.Event()
        self.gone = asyncio.Event()

    async def listened(self, _: Request, reply: Reply) -> None:
        """What a GET is answered with: an event, and another once it is let."""
        await reply.start(STREAM)
        await reply.write(event(CHANGED))
        try:
            await self.more.wait()
            await reply.write(event(CHANGED))
            await asyncio.Event().wait()
        finally:
            self.gone.set()

    async def broken(self, _: Message, reply: Reply) -> None:
        """The answer to a call: an event to go on after, and no more."""
        await reply.start(STREAM)
        await reply.write(PRIMING)
        reply.finish()

    async def resumed(self, _: Request, reply: Reply) -> None:
        """The rest: the answer to call 1, and the whole list of tools that somebody else asked for."""
        await reply.start(STREAM)
        tools = {"jsonrpc": "2.0", "id": 2, "result": {"tools": self._mesh.server.tools}}
        await reply.write(event(json.dumps(tools).encode()))
        rest = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "rest"}]}}
        await reply.write(event(json.dumps(rest).encode()))
        reply.finish()


@asynccontextmanager
async def getting(mesh: Mesh, answer: object) -> AsyncIterator[None]:
    """A GET is answered so, inside."""
    mesh.server.listened = answer  # type: ignore[assignment]  # of Streams
    try:
        yield
    finally:
        del mesh.server.listened


async def test_what_a_server_tells_its_client_arrives_at_once_and_leaving_is_noticed(mesh: Mesh) -> None:
    streams, session = Streams(mesh), await opened(mesh.planner)
    async with getting(mesh, streams.listened):
        async with await mesh.planner.begin(listen(session)) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(CHANGED)
            streams.more.set()
            assert await anext(chunks) == event(CHANGED)
        await streams.gone.wait()
    record = mesh.log("ingress").last()
    assert (record["action"], record["rule"], record["outcome"]) == (
        "session/listen",
        "protocol",
        "completed",
    )


async def test_nobody_listens_to_another_session(mesh: Mesh) -> None:
    session = await opened(mesh.planner)
    with mesh.server.untouched():
        assert (await mesh.reviewer.ask(listen(session))).status == 404
        assert (await mesh.planner.ask(listen(b"session-unknown"))).status == 404
        assert (await mesh.planner.ask(listen(None))).status == 405


async def test_an_answer_goes_on_where_it_broke_and_nothing_else_comes_with_it(mesh: Mesh) -> None:
    streams, session = Streams(mesh), await opened(mesh.planner)
    with mesh.server.answering(streams.broken):
        call = legacy("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, session=session)
        assert (await mesh.planner.ask(call)).body == PRIMING
    async with getting(mesh, streams.resumed):
        answer = await mesh.planner.ask(listen(session, b"e1"))
        assert b'"text": "rest"' in answer.body
        assert b"tools" not in answer.body
        # The ID of an event opens nothing to others, nor does one that was never sent.
        foreign = await opened(mesh.reviewer)
        with mesh.server.untouched():
            for client, of, after in ((mesh.reviewer, foreign, b"e1"), (mesh.planner, session, b"e2")):
                refused = await client.ask(listen(of, after))
                assert (refused.status, refused.reason) == (400, "mesh.session_event_unknown")


async def test_a_server_without_streams_is_one_without(mesh: Mesh) -> None:
    async def none(_: Request, reply: Reply) -> None:
        await reply.send(ResponseHead(405, ()), b"")

    async with getting(mesh, none):
        assert (await mesh.planner.ask(listen(await opened(mesh.planner)))).status == 405


async def test_a_stream_ends_when_policy_would_refuse_it(folder: Path) -> None:
    """The policy goes by the clock, and the clock goes on."""
    last = int((now() + timedelta(minutes=5)).timestamp())
    async with running_mesh(
        folder,
        recheck=1,
        policy=POLICY.replace(
            'input.action != "tools/call"', f'input.action != "tools/call"\n\tinput.time.unix < {last}'
        ),
    ) as mesh:
        streams, session = Streams(mesh), await opened(mesh.planner)
        async with (
            getting(mesh, streams.listened),
            await mesh.planner.begin(listen(session)) as response,
        ):
            chunks = aiter(response)
            assert await anext(chunks) == event(CHANGED)
            mesh.clock.advance(timedelta(minutes=10))
            with pytest.raises(Refused) as caught:
                await anext(chunks)
        assert caught.value.reason is Reason.UPSTREAM_BROKEN
        await streams.gone.wait()
        assert mesh.log("ingress").last()["reason"] == "policy.denied"
