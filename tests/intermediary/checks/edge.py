"""Points 13, 14, 28 and 29: who is believed, where a request may come from, and what a refusal gives away."""

import json
from typing import Final

from tests.intermediary.catalogue import REFUSAL
from tests.intermediary.check import Bench, Need, check
from tests.intermediary.mcp import call, fresh_id, initialize, legacy_call, modern

SECRET: Final = "suite-secret-"  # noqa: S105  a word to look for
CLAIMS: Final = {
    "Forwarded": "for=1.2.3.4;by=spiffe://evil.test/x", "X-Forwarded-For": "1.2.3.4",
    "X-Real-IP": "1.2.3.4", "X-Forwarded-User": "root", "X-Remote-User": "root",
    "X-Forwarded-Client-Cert": "By=spiffe://a;URI=spiffe://mesh.test/mcp/desk", "l5d-client-id": "spiffe://a/b",
    "Mesh-User-Context": "e30.e30.e30", "Mesh_User_Context": "e30.e30.e30", "X-Mcp-Authorized": "e30.e30.e30",
    "X-Spiffe-Id": "spiffe://mesh.test/mcp/desk", "X-Original-URL": "/admin",
    "X-HTTP-Method-Override": "DELETE",
}  # fmt: skip


@check(13, "design: identity only from the verified SVID")
async def what_a_caller_says_of_identities_does_not_reach_the_server(bench: Bench) -> None:
    for name, value in CLAIMS.items():
        mark = len(bench.upstream.received)
        await bench.ask(call("echo", text=fresh_id()).with_header(name, value))
        for received in bench.upstream.since(mark):
            assert value.encode() not in received.head.values(name.lower().encode()), name
    await bench.serves()


@check(14, "Streamable HTTP, Security: 403 for an invalid Origin")
async def a_page_of_another_site_is_refused(bench: Bench) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
    ):
        answer = await bench.refused(call("echo").with_header("Origin", origin))
        assert answer.status in (403, 421), answer.status


@check(14, "Streamable HTTP, Security: DNS rebinding")
async def a_request_under_another_name_is_refused(bench: Bench) -> None:
    for host in (b"evil.example", b"localhost.evil.example", b"evil.example:80"):
        answer = await bench.refused(call("echo").at(host))
        assert answer.status in (400, 403, 421), answer.status


@check(14, "RFC 9110 section 7.2")
async def the_server_is_called_by_its_own_name(bench: Bench) -> None:
    mark = len(bench.upstream.received)
    await bench.serves()
    (received,) = bench.upstream.since(mark)
    (host,) = received.head.values(b"host")
    assert host != bench.client.endpoint.authority


@check(28, "MCP server/tools, Error Handling; JSON-RPC 2.0 section 5.1", Need.POLICY)
async def a_refused_call_is_an_answer_to_it(bench: Bench) -> None:
    """The one form that every SDK hands to its user: a JSON-RPC error under the ID of the call."""
    for request in (call("pay"), call("hidden"), legacy_call("pay")):
        answer = await bench.refused(request)
        assert answer.media_type == b"application/json"
        assert answer.response["id"] == json.loads(request.body)["id"]
        code = answer.error["code"]
        assert code == -32602 or not -32768 <= code <= -32000, f"{code} is reserved"


@check(28, "JSON-RPC 2.0 section 5.1: -32768 to -32000 are reserved", Need.POLICY)
async def the_publishers_words_reach_the_caller(bench: Bench) -> None:
    assert REFUSAL in (await bench.refused(call("pay"))).error["message"]


@check(28, "MCP authorization: challenges only where OAuth is used", Need.POLICY)
async def a_refusal_starts_no_oauth_flow(bench: Bench) -> None:
    for request in (call("pay"), call("hidden"), modern("tools/burn")):
        answer = await bench.refused(request)
        assert answer.status != 401
        assert not answer.head.values(b"www-authenticate")
        assert b"insufficient_scope" not in answer.body


@check(29, "MCP authorization: servers MUST NOT accept or transit any other tokens")
async def credentials_of_the_caller_do_not_reach_the_server(bench: Bench) -> None:
    names = ("Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "DPoP")
    for request in (call("echo"), legacy_call("echo", text="suite-credentials"), initialize()):
        bearing = request
        for name in names:
            bearing = bearing.with_header(name, f"Bearer {SECRET}{name}")
        mark = len(bench.upstream.received)
        await bench.ask(bearing)
        for received in bench.upstream.received[mark:]:
            assert SECRET.encode() not in received.raw


@check(29, "OWASP ASVS 5.0 section 16.2", Need.LOGS)
async def credentials_and_arguments_are_not_written_down(bench: Bench) -> None:
    request = call("echo", text=f"{SECRET}argument").with_header("Authorization", f"Bearer {SECRET}token")
    await bench.ask(request)
    await bench.serves()
    written = bench.written()
    assert b"tools/call" in written, "nothing is written down at all"
    assert SECRET.encode() not in written
