"""What two parsers could read differently, or nobody knows, is refused at the side it meets first.

A workload's own agent refuses it before it goes anywhere; a hostile agent's is refused at the ingress.
"""

from typing import Final

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply, Request, ResponseHead
from tests.fakes.mcp_client import Answer, call, legacy, modern, with_body, with_header, without_header
from tests.fakes.mcp_server import JSON, Message, result_of
from tests.fakes.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD: Final = call("echo", text="hi")
GET: Final = Request(b"GET", GOOD.target, GOOD.headers)

# What is sent; the status, the JSON-RPC code and the reason that come back.
REFUSED: Final[dict[str, tuple[Request, int, int, Reason]]] = {
    "a batch": (with_body(GOOD, b"[" + GOOD.body + b"]"), 400, -32600, Reason.MCP_BATCH),
    "two names": (
        with_body(GOOD, GOOD.body.replace(b'"name": "echo"', b'"name": "echo", "name": "pay"')),
        400,
        -32600,
        Reason.JSON_DUPLICATE_KEY,
    ),
    "no JSON": (with_body(GOOD, b"{"), 400, -32700, Reason.JSON_MALFORMED),
    "an unknown method, modern": (modern("tools/burn"), 404, -32601, Reason.MCP_METHOD_UNKNOWN),
    "an unknown method, legacy": (legacy("tools/burn"), 200, -32601, Reason.MCP_METHOD_UNKNOWN),
    "a method that is not passed on": (
        modern("resources/subscribe"),
        404,
        -32601,
        Reason.MCP_METHOD_UNKNOWN,
    ),
    "a header that names another tool": (
        with_header(without_header(GOOD, "mcp-name"), "mcp-name", "pay"),
        400,
        -32020,
        Reason.MCP_HEADER_MISMATCH,
    ),
    "GET": (GET, 405, -32600, Reason.HTTP_METHOD),
}
cases = pytest.mark.parametrize(
    ("request_", "status", "code", "reason"), REFUSED.values(), ids=REFUSED.keys()
)


def check(answer: Answer, record: dict[str, object], status: int, code: int, reason: Reason) -> None:
    assert (answer.status, answer.code, answer.reason) == (status, code, reason.code)
    assert answer.document["jsonrpc"] == "2.0"
    assert (record["decision"], record["outcome"], record["reason"]) == ("refuse", "refused", reason.code)
    if reason is Reason.HTTP_METHOD:
        assert (b"allow", b"POST, DELETE") in answer.headers


@cases
async def test_egress_sends_it_nowhere(
    mesh: Mesh, request_: Request, status: int, code: int, reason: Reason
) -> None:
    arrived = len(mesh.log("ingress").records())
    with mesh.server.untouched():
        answer = await mesh.planner.ask(request_)
    check(answer, mesh.log("planner").last(), status, code, reason)
    assert len(mesh.log("ingress").records()) == arrived
    assert (await mesh.planner.ask(GOOD)).text == "hi"


@cases
async def test_ingress_passes_it_to_no_server(
    mesh: Mesh, request_: Request, status: int, code: int, reason: Reason
) -> None:
    hop = mesh.hop()
    with mesh.server.untouched():
        answer = await hop.ask(hop.signed(request_))
    check(answer, mesh.log("ingress").last(), status, code, reason)
    assert (await hop.ask(hop.signed(GOOD))).text == "hi"


async def test_an_unknown_server_is_not_found_on_either_side(mesh: Mesh) -> None:
    elsewhere = Request(b"POST", b"/vault/mcp", GOOD.headers, GOOD.body)
    hop = mesh.hop()
    with mesh.server.untouched():
        answers = [await mesh.planner.ask(elsewhere), await hop.ask(hop.signed(elsewhere))]
    for answer in answers:
        assert (answer.status, answer.reason) == (404, Reason.ROUTE_UNKNOWN.code)
    for side in ("planner", "ingress"):
        assert mesh.log(side).last()["reason"] == Reason.ROUTE_UNKNOWN.code


FOREIGN_PAGES: Final = {
    "Host": with_header(without_header(GOOD, "host"), "host", "evil.example"),
    "Host that only begins well": with_header(without_header(GOOD, "host"), "host", "localhost.evil.example"),
    "Origin": with_header(GOOD, "origin", "https://evil.example"),
    "Origin of a sandboxed page": with_header(GOOD, "origin", "null"),
}


@pytest.mark.parametrize("request_", FOREIGN_PAGES.values(), ids=FOREIGN_PAGES.keys())
async def test_a_page_of_another_site_does_not_reach_the_egress(mesh: Mesh, request_: Request) -> None:
    with mesh.server.untouched():
        answer = await mesh.planner.ask(request_)
    assert (answer.status, answer.reason) == (403, Reason.ORIGIN_FORBIDDEN.code)
    assert mesh.log("planner").last()["reason"] == Reason.ORIGIN_FORBIDDEN.code
    local = with_header(GOOD, "origin", "http://localhost:6274")
    assert (await mesh.planner.ask(local)).text == "hi"


async def size(message: Message, reply: Reply) -> None:
    await reply.send(
        ResponseHead(200, JSON), result_of(message, str(len(message["params"]["arguments"]["text"])))
    )


async def test_a_body_of_4_mib_passes_and_one_byte_more_is_too_large(mesh: Mesh) -> None:
    limit = 4 * 1024 * 1024
    room = limit - len(call("echo", text="").body)
    with mesh.server.answering(size):
        assert (await mesh.planner.ask(call("echo", text="x" * room))).text == str(room)
        with mesh.server.untouched():
            answer = await mesh.planner.ask(call("echo", text="x" * (room + 1)))
    assert answer.status == 413
    assert mesh.log("planner").last()["reason"] == Reason.HTTP_BODY_TOO_LARGE.code
    assert (await mesh.planner.ask(GOOD)).text == "hi"
