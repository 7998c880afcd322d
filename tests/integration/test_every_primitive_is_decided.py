"""Tools, prompts, resources, completion: each is asked of policy in both eras, and no other passes."""

import json
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply, Request, ResponseHead
from tests.fakes.mcp_client import Plain, initialize, legacy, stateless
from tests.fakes.mcp_server import JSON, STREAM, Message, event, result_of
from tests.fakes.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERAS: Final = ("modern", "legacy")
PROMPT: Final = {"type": "ref/prompt", "name": "greet"}
TEMPLATE: Final = {"type": "ref/resource", "uri": "file:///{path}"}
ARGUMENT: Final = {"name": "path", "value": "a"}
# Method, parameters, what the record says of the subject.
PERMITTED: Final[list[tuple[str, dict[str, Any], dict[str, str]]]] = [
    ("tools/list", {}, {}),
    ("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, {"tool": "echo"}),
    ("prompts/list", {}, {}),
    ("prompts/get", {"name": "greet", "arguments": {"who": "you"}}, {"prompt": "greet"}),
    ("resources/list", {}, {}),
    ("resources/templates/list", {}, {}),
    ("resources/read", {"uri": "file:///a"}, {"resource": "file:///a"}),
    ("completion/complete", {"ref": PROMPT, "argument": ARGUMENT}, {"prompt": "greet"}),
    ("completion/complete", {"ref": TEMPLATE, "argument": ARGUMENT}, {"resource": "file:///{path}"}),
]
DENIED: Final[list[tuple[str, dict[str, Any]]]] = [
    ("tools/call", {"name": "pay", "arguments": {"text": "hi"}}),
    ("prompts/get", {"name": "secret"}),
    ("resources/read", {"uri": "secret:a"}),
    ("completion/complete", {"ref": {**PROMPT, "name": "secret"}, "argument": ARGUMENT}),
    ("completion/complete", {"ref": {**TEMPLATE, "uri": "secret:{path}"}, "argument": ARGUMENT}),
]
LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


async def _says(message: Message, reply: Reply) -> None:
    result = {"resultType": "complete", "said": message["method"], "n": 1.50}
    body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    await reply.send(ResponseHead(200, JSON), json.dumps(body).encode())


async def asked(client: Plain, era: str, method: str, params: dict[str, Any]) -> Request:
    """The request in that era; a legacy one in a session of its own."""
    if era == "modern":
        return stateless(method, params)
    opened = await client.ask(initialize())
    return legacy(method, params, session=dict(opened.headers)[b"mcp-session-id"])


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("method", "params", "subject"), PERMITTED)
async def test_what_policy_permits_reaches_the_server_as_it_was_said(
    mesh: Mesh, era: str, method: str, params: dict[str, Any], subject: dict[str, str]
) -> None:
    request = await asked(mesh.planner, era, method, params)
    with mesh.server.answering(_says, *(method for method, _, _ in PERMITTED if method != "tools/list")):
        answer = await mesh.planner.ask(request)
    assert "result" in answer.document
    assert mesh.server.requests[-1].body == request.body
    record = mesh.log("ingress").last()
    rule = "tools" if method == "tools/call" else "protocol"
    assert (record["action"], record["decision"], record["rule"]) == (method, "allow", rule)
    assert {key: record.get(key) or "" for key in ("tool", "prompt", "resource")} == {
        "tool": "",
        "prompt": "",
        "resource": "",
        **subject,
    }


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("method", "params"), DENIED)
async def test_what_policy_refuses_reaches_nobody(
    mesh: Mesh, era: str, method: str, params: dict[str, Any]
) -> None:
    request = await asked(mesh.planner, era, method, params)
    with mesh.server.untouched():
        answer = await mesh.planner.ask(request)
    assert (answer.status, answer.code, answer.document["id"]) == (200, 403001, 1)
    record = mesh.log("ingress").last()
    assert (record["action"], record["decision"], record["reason"]) == (
        method,
        "refuse",
        Reason.POLICY_DENIED.code,
    )


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", LISTS)
async def test_a_list_is_decided_too(mesh: Mesh, era: str, method: str) -> None:
    """The guest may do nothing: not even open a session."""
    request = stateless(method) if era == "modern" else legacy(method, {})
    with mesh.server.untouched():
        answer = await mesh.guest.ask(request)
    assert (answer.status, answer.reason) == (200, Reason.POLICY_DENIED.code)
    assert mesh.log("ingress").last()["action"] == method


@pytest.mark.parametrize(
    ("era", "method"),
    [
        *(
            (era, method)
            for era in ERAS
            for method in ("tools/install", "Tools/Call", "sampling/createMessage")
        ),
        ("modern", "initialize"),
        ("modern", "ping"),
        ("modern", "tasks/list"),
        ("legacy", "server/discover"),
        ("legacy", "tasks/update"),
    ],
)
async def test_a_method_that_is_not_on_the_list_of_its_era_leaves_its_own_node_not(
    mesh: Mesh, era: str, method: str
) -> None:
    request = await asked(mesh.planner, era, method, {"taskId": "t", "name": "echo"})
    records = len(mesh.log("ingress").records())
    with mesh.server.untouched():
        answer = await mesh.planner.ask(request)
    assert (answer.status, answer.code) == (404 if era == "modern" else 200, -32601)
    assert mesh.log("planner").last()["reason"] == Reason.MCP_METHOD_UNKNOWN.code
    assert len(mesh.log("ingress").records()) == records


@pytest.mark.parametrize("era", ERAS)
async def test_nor_does_one_of_the_servers(mesh: Mesh, era: str) -> None:
    """What it tells is left out, and what it asks ends the stream with an error for the call."""
    unheard = b'{"jsonrpc":"2.0","method":"notifications/unheard-of","params":{}}'
    asks = b'{"jsonrpc":"2.0","id":9,"method":"client/run","params":{}}'

    async def says(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(unheard))
        await reply.write(event(result_of(message, "done") if message["id"] == 1 else asks))
        reply.finish()

    params = {"name": "echo", "arguments": {"text": "hi"}}
    request = await asked(mesh.planner, era, "tools/call", params)
    with mesh.server.answering(says):
        told = await mesh.planner.ask(request)
        again = legacy("tools/call", params, message_id=2)
        answer = await mesh.planner.ask(
            stateless("tools/call", params, message_id=2) if era == "modern" else again
        )
    assert b"unheard-of" not in told.body
    assert b"done" in told.body
    assert b"client/run" not in answer.body
    assert b'"error"' in answer.body
    assert mesh.log("ingress").last()["reason"] == Reason.MCP_SERVER_REQUEST_REFUSED.code
