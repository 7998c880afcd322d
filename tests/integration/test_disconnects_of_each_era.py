"""Who leaves in the middle of a call cancels it in 2026-07-28, and in the legacy era only says that it left.

2026-07-28 basic/patterns/cancellation: "The server MUST treat a client disconnect as cancellation of that
request." 2025-11-25 basic/transports: "Disconnection SHOULD NOT be interpreted as the client cancelling its
request. To cancel, the client SHOULD explicitly send an MCP CancelledNotification." The two agents pass on
what happened, at once and as it happened: a disconnect as a disconnect, a notification as a notification.
"""

import asyncio
import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request
from spiffe_mcp.http.client import ClientConnection
from tests.fakes.mcp_client import Plain, initialize, legacy, stateless
from tests.fakes.mcp_server import STREAM, Message, event, result_of
from tests.fakes.mesh import Mesh
from tests.fakes.streaming import PROGRESS, error_in, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIDES: Final = ("planner", "ingress")
OUTCOMES: Final = {"modern": "cancelled", "legacy": "disconnected"}
PARAMS: Final[dict[str, Any]] = {"name": "echo", "arguments": {"text": "hi"}}
each_era: Final = pytest.mark.parametrize("era", OUTCOMES)


@dataclass
class Tool:
    """A call that runs until the test ends it, or until whoever asked is gone."""

    streams: bool
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, message: Message, reply: Reply) -> None:
        if self.streams:
            await reply.start(STREAM)
            await reply.write(event(PROGRESS))
        self.arrived.set()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        await reply.write(event(result_of(message, "done")))
        reply.finish()


class Records:
    """What the logs of both agents say from here on."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._before = {side: len(mesh.log(side).records()) for side in SIDES}

    def of(self, side: str) -> list[Any]:
        return self._mesh.log(side).records()[self._before[side] :]

    async def one_of_each(self) -> dict[str, Any]:
        """The one record of each side, once it is there."""
        await until(lambda: all(self.of(side) for side in SIDES))
        for side in SIDES:
            assert len(self.of(side)) == 1
        return {side: self.of(side)[0] for side in SIDES}


async def session_of(client: Plain) -> bytes:
    opened = await client.ask(initialize())
    return dict(opened.headers)[b"mcp-session-id"]


async def calling(client: Plain, era: str) -> Request:
    """A call; in the legacy era in a session that was opened for it."""
    if era == "modern":
        return stateless("tools/call", PARAMS)
    return legacy("tools/call", PARAMS, session=await session_of(client))


async def asked_until_it_left(connection: ClientConnection, request: Request) -> None:
    """Return with the head of the answer, or when this side has left before it came."""
    with suppress(Refused):
        await connection.exchange(request)


def reset(connection: ClientConnection) -> None:
    """As the kernel does for a process that was killed with an answer unread."""
    raw: socket.socket = connection._transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection._transport.abort()


def close(connection: ClientConnection) -> None:
    connection._transport.close()


@each_era
@pytest.mark.parametrize("streams", [False, True], ids=["before the answer", "mid-stream"])
@pytest.mark.parametrize("leave", [close, reset])
async def test_who_leaves_is_gone_at_the_server_at_once_and_nothing_is_said_for_it(
    mesh: Mesh, era: str, streams: bool, leave: Any
) -> None:
    request, tool = await calling(mesh.planner, era), Tool(streams)
    records, seen = Records(mesh), len(mesh.server.requests)
    with mesh.server.answering(tool):
        async with asyncio.TaskGroup() as tasks:
            connection = await mesh.planner.connection()
            asking = tasks.create_task(asked_until_it_left(connection, request))
            await tool.arrived.wait()
            if streams:
                await asking
                assert await connection.read() == event(PROGRESS)
            leave(connection)
            await tool.left.wait()
    for record in (await records.one_of_each()).values():
        assert (record["outcome"], record["action"], record["tool"]) == (OUTCOMES[era], "tools/call", "echo")
        assert record["decision"] == "allow"
    assert [sent.body for sent in mesh.server.requests[seen:]] == [request.body], "no word of a cancellation"


@each_era
async def test_who_leaves_after_its_answer_has_cancelled_nothing(mesh: Mesh, era: str) -> None:
    """A stream may stay open behind the answer."""
    request, answered = await calling(mesh.planner, era), asyncio.Event()

    async def stays_open(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(result_of(message, "done")))
        await answered.wait()

    records = Records(mesh)
    with mesh.server.answering(stays_open):
        connection = await mesh.planner.connection()
        await connection.exchange(request)
        assert b"done" in await connection.read()
        close(connection)
        await until(lambda: bool(records.of("ingress")))
    assert records.of("ingress")[0]["outcome"] == "completed"


async def test_a_legacy_call_is_cancelled_by_the_message_that_says_so(mesh: Mesh) -> None:
    """It comes on a connection of its own; the stream of the call is the server's to end."""
    session, tool = await session_of(mesh.planner), Tool(streams=True)
    cancel = legacy(
        "notifications/cancelled", {"requestId": 1, "reason": "enough"}, message_id=None, session=session
    )
    with mesh.server.answering(tool):
        async with await mesh.planner.begin(legacy("tools/call", PARAMS, session=session)) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            assert (await mesh.planner.ask(cancel)).status == 202
            assert mesh.server.requests[-1].body == cancel.body
            assert dict(mesh.server.requests[-1].headers)[b"mcp-session-id"] == session
            record = mesh.log("ingress").last()
            assert (record["action"], record["outcome"]) == ("notifications/cancelled", "completed")
            assert not tool.left.is_set()
            tool.finish.set()
            assert [chunk async for chunk in chunks] == [event(result_of({"id": 1}, "done"))]


async def test_nobody_cancels_a_call_in_a_session_of_another(mesh: Mesh) -> None:
    session, tool = await session_of(mesh.planner), Tool(streams=True)
    cancel = legacy("notifications/cancelled", {"requestId": 1}, message_id=None, session=session)
    with mesh.server.answering(tool):
        async with await mesh.planner.begin(legacy("tools/call", PARAMS, session=session)):
            with mesh.server.untouched():
                answer = await mesh.reviewer.ask(cancel)
            assert answer.status == 404
            assert mesh.log("ingress").last()["reason"] == Reason.SESSION_UNKNOWN.code
            assert not tool.left.is_set()


async def test_2026_07_28_has_no_such_message(mesh: Mesh) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    params = {"_meta": meta, "requestId": 1}
    said = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    asked = stateless("tools/call", PARAMS)
    headers = tuple(pair for pair in asked.headers if pair[0] not in {b"mcp-method", b"mcp-name"})
    with mesh.server.untouched():
        answer = await mesh.planner.ask(Request(b"POST", asked.target, headers, json.dumps(said).encode()))
    assert answer.status == 404
    assert mesh.log("planner").last()["reason"] == Reason.MCP_METHOD_UNKNOWN.code


@each_era
async def test_a_server_that_dies_in_its_answer_leaves_an_error_and_one_record(mesh: Mesh, era: str) -> None:
    async def dies(_: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(PROGRESS))
        reply._transport.abort()

    request = await calling(mesh.planner, era)
    records, called = Records(mesh), len(mesh.server.called)
    with mesh.server.answering(dies):
        async with await mesh.planner.begin(request) as response:
            received = await response.body(4096)
    assert received.startswith(event(PROGRESS))
    assert error_in(received)["code"] == 503001
    both = await records.one_of_each()
    assert (both["ingress"]["outcome"], both["ingress"]["reason"]) == (
        "refused",
        Reason.UPSTREAM_BROKEN.code,
    )
    assert both["planner"]["txn"] == both["ingress"]["txn"]
    assert len(mesh.server.called) == called + 1, "never twice"


async def test_the_logs_are_intact_after_all_of_this(mesh: Mesh) -> None:
    """Last in the module."""
    for side in (*SIDES, "reviewer"):
        assert mesh.log(side).report().intact
    await until(lambda: mesh.server.open <= 4)  # what is idle and shared: none is left behind
