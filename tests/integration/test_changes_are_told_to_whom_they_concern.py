"""A server says that its tools have changed: it is asked again before the next call, not in a minute."""

import json

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply
from tests.fakes.mcp_client import initialize, legacy
from tests.fakes.mcp_server import STREAM, Message, event, result_of
from tests.fakes.mesh import LIVE, Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
POISONED = [{**tool, "description": "other"} if tool["name"] == "echo" else tool for tool in LIVE]


def updated(uri: str) -> bytes:
    said = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
    return json.dumps(said).encode()


async def says(*said: bytes, mesh: Mesh, subscribed: tuple[str, ...] = ()) -> bytes:
    """What a caller hears when the server says this in the stream of its answer."""

    async def stream(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        for words in said:
            await reply.write(event(words))
        await reply.write(event(result_of({"id": message["id"]}, "done")))
        reply.finish()

    opened = await mesh.planner.ask(initialize())
    session = dict(opened.headers)[b"mcp-session-id"]
    for uri in subscribed:
        await mesh.planner.ask(legacy("resources/subscribe", {"uri": uri}, session=session))
    with mesh.server.answering(stream, "ping"):
        answer = await mesh.planner.ask(legacy("ping", session=session))
    assert b"done" in answer.body
    return answer.body


async def test_tools_that_changed_are_looked_at_before_the_next_call(mesh: Mesh) -> None:
    params = {"name": "echo", "arguments": {"text": "hi"}}
    assert (await mesh.planner.ask(legacy("tools/call", params))).text == "hi"
    with mesh.server.listing(POISONED):
        assert (await mesh.planner.ask(legacy("tools/call", params))).text == "hi", "known for a minute"
        called = len(mesh.server.called)
        assert CHANGED in await says(CHANGED, mesh=mesh)
        answer = await mesh.planner.ask(legacy("tools/call", params))
        assert answer.code == -32602
        assert mesh.log("ingress").last()["reason"] == Reason.MANIFEST_TOOL_CHANGED.code
        assert len(mesh.server.called) == called
    await says(CHANGED, mesh=mesh)
    assert (await mesh.planner.ask(legacy("tools/call", params))).text == "hi", "opened again as fast"


async def test_a_resource_that_a_caller_may_not_read_does_not_change_for_it(mesh: Mesh) -> None:
    subscribed = ("file:///a", "secret:a")
    heard = await says(updated("file:///a"), updated("secret:a"), mesh=mesh, subscribed=subscribed)
    assert b"file:///a" in heard
    assert b"secret:a" not in heard


async def test_a_resource_changes_for_the_session_that_asked_to_be_told(mesh: Mesh) -> None:
    assert b"file:///a" not in await says(updated("file:///a"), mesh=mesh)
    assert b"file:///a/b" in await says(updated("file:///a/b"), mesh=mesh, subscribed=("file:///a",))
