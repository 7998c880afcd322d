"""Through both agents, a legacy server asks what its client offered to answer, and is told what is not asked.

With the official SDK on both ends: a tool that elicits and samples works as it does without a mesh.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import mcp_types
import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

from spiffe_mcp.http import Reply
from tests.fakes.mcp_client import Plain, answering, initialize, legacy
from tests.fakes.mcp_server import STREAM, Message, event, result_of
from tests.fakes.mesh import PLANNER, SERVER, Mesh, Site, provider_at, running_agent
from tests.fakes.sdk import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELICITATION: Final = "elicitation/create"


async def opened(client: Plain, **capabilities: Any) -> bytes:
    """A session in which that is declared."""
    answer = await client.ask(initialize(**capabilities))
    return dict(answer.headers)[b"mcp-session-id"]


def question(method: str, message_id: int) -> bytes:
    asked = {"jsonrpc": "2.0", "id": message_id, "method": method, "params": {"message": "Sure?"}}
    return event(json.dumps(asked).encode())


class Asking:
    """A tool that asks its client, and is done when it is told to be."""

    def __init__(self, mesh: Mesh, method: str, message_id: int) -> None:
        self._mesh = mesh
        self._asked = question(method, message_id)
        self.message_id = message_id
        self.done = asyncio.Event()

    async def __call__(self, message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(self._asked)
        await self.done.wait()
        await reply.write(event(result_of(message, "done")))
        reply.finish()

    @property
    def told(self) -> list[Message]:
        """What the server got in answer."""
        bodies = [json.loads(request.body) for request in self._mesh.server.requests if request.body]
        return [body for body in bodies if "method" not in body and body["id"] == self.message_id]


def call(session: bytes) -> Any:
    return legacy("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, session=session)


async def test_a_question_passes_and_its_answer_once(mesh: Mesh) -> None:
    session, asking = await opened(mesh.planner, elicitation={}), Asking(mesh, ELICITATION, 71)
    with mesh.server.answering(asking):
        async with await mesh.planner.begin(call(session)) as response:
            chunks = aiter(response)
            assert await anext(chunks) == question(ELICITATION, 71)
            # Neither a session of somebody else's nor one of his own lets anybody answer for another.
            assert (await mesh.reviewer.ask(answering(71, session))).status == 404
            foreign = await opened(mesh.reviewer, elicitation={})
            assert (await mesh.reviewer.ask(answering(71, foreign))).reason == "mcp.response_unexpected"
            assert (await mesh.planner.ask(answering(71, session))).status == 202
            assert mesh.log("ingress").last()["action"] == "session/answer"
            again = await mesh.planner.ask(answering(71, session))
            assert (again.status, again.reason) == (400, "mcp.response_unexpected")
            asking.done.set()
            assert await anext(chunks) == event(result_of({"id": 1}, "done"))
    assert asking.told == [{"jsonrpc": "2.0", "id": 71, "result": {"action": "accept", "content": {}}}]


@pytest.mark.parametrize("declared", [{}, {"sampling": {}}])
async def test_a_server_is_told_what_its_client_does_not_take(mesh: Mesh, declared: Any) -> None:
    session, asking = await opened(mesh.planner, **declared), Asking(mesh, ELICITATION, 72)
    before, told = len(asking.told), asyncio.Event()
    asking.done = told
    handle = mesh.server.handle

    async def noticing(request: Any, reply: Reply) -> None:
        await handle(request, reply)
        if len(asking.told) > before:
            told.set()

    mesh.server.handle = noticing  # type: ignore[method-assign]  # until it has heard
    try:
        with mesh.server.answering(asking):
            answer = await mesh.planner.ask(call(session))
    finally:
        mesh.server.handle = handle  # type: ignore[method-assign]
    assert answer.body.endswith(event(result_of({"id": 1}, "done")))
    assert b"Sure?" not in answer.body
    assert asking.told[-1]["error"] == {"code": -32601, "message": "Method not found"}
    record = mesh.log("ingress").last()
    assert (record["outcome"], record["withheld"]) == (
        "completed",
        {ELICITATION: "mcp.capability_undeclared"},
    )


# -- the official SDK, on both ends -------------------------------------------------------------------------


class Amount(BaseModel):
    """What the user fills in."""

    euros: int


def asking_server() -> MCPServer:
    """A server whose tool asks its client twice."""
    server = MCPServer("asking", log_level="WARNING")

    @server.tool()
    async def order(ctx: Context) -> str:
        """Asks for an amount, in the stream of the call; then for a word, in that of the session."""
        amount = await ctx.elicit("How much?", Amount)
        message = mcp_types.SamplingMessage(
            role="user", content=mcp_types.TextContent(type="text", text="A word?")
        )
        word = await ctx.session.create_message([message], max_tokens=5)
        assert amount.action == "accept"
        return f"{amount.data.euros} {word.content}"

    return server


async def elicited(context: Any, params: Any) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"euros": 7})


async def sampled(context: Any, params: Any) -> mcp_types.CreateMessageResult:
    content = mcp_types.TextContent(type="text", text="yes")
    return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")


POLICY: Final = """
package mcp.authz
decision := {"allow": true, "rule": "everything"}
visible_tools contains tool.name if some tool in input.tools
"""


# Deprecated in 2026-07-28, and what legacy servers do.
@pytest.mark.filterwarnings("ignore:The sampling capability is deprecated")
async def test_the_official_sdk_elicits_and_samples(folder: Path) -> None:
    server = asking_server()
    async with served(server) as url:
        tools = [tool.model_dump(by_alias=True, exclude_none=True) for tool in await server.list_tools()]
        site = Site(folder)
        site.sign_manifest(tools=tools)
        site.write_policy(POLICY)
        async with (
            provider_at(folder) as provider,
            running_agent(site.ingress_config(provider.address, url)) as ingress,
            running_agent(
                site.egress_config(provider.address, str(ingress.ingress), PLANNER, SERVER)
            ) as egress,
            Client(
                f"http://{egress.egress}/desk/mcp",
                mode="legacy",
                elicitation_callback=elicited,
                sampling_callback=sampled,
            ) as client,
        ):
            result = await client.call_tool("order", {})
    assert not result.is_error, result
    assert "7 " in str(result.content)
    assert "yes" in str(result.content)
