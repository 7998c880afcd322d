"""Points 24 to 28, for one call: decided before the server sees a byte, and each time anew."""

import json
from typing import Any, Final

from tests.intermediary.check import Bench, Need, check
from tests.intermediary.client import Answer, Outgoing
from tests.intermediary.mcp import LEGACY, call, fresh_id, initialize, legacy_call, modern, response, said
from tests.intermediary.upstream import Answering, Message

STATE: Final = 'suite-\u00e9\u2028 \\ " =='


@check(24, "MCP server/tools: the server validates; so does who stands before it", Need.PINNING)
async def arguments_that_break_the_signed_schema_reach_nobody(bench: Bench) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {}, {"text": 1}, {"text": None}, {"text": "x" * 101}, {"text": "x", "more": 1},
    )  # fmt: skip
    for arguments in wrong:
        await bench.refused(call("strict", **arguments), code=-32602)
    await bench.refused(call("strict", text="x", Text="y"))
    assert (await bench.ask(call("strict", text="right"))).result


@check(24, "design: decided on the body before the server sees a byte", Need.POLICY)
async def what_policy_refuses_reaches_nobody_in_any_era(bench: Bench) -> None:
    for name in ("pay", "hidden"):
        for request in (call(name, text="x"), legacy_call(name, text="suite-refused")):
            await bench.refused(request)
            await bench.refused(request.without("MCP-Protocol-Version"))
    await bench.serves()


@check(25, "MCP server/tools, Error Handling: -32602 Unknown tool", Need.POLICY)
async def what_is_hidden_looks_like_what_does_not_exist(bench: Bench) -> None:
    for make in (call, legacy_call):
        shown = [_seen(await bench.refused(make(name)), name) for name in ("hidden", "absent")]
        assert shown[0] == shown[1]
        assert shown[0][2]["code"] == -32602


@check(25, "MCP server/tools, Error Handling: -32602 Unknown tool", Need.POLICY, Need.PINNING)
async def what_is_unsigned_or_misused_looks_like_what_does_not_exist(bench: Bench) -> None:
    absent = _seen(await bench.refused(call("absent")), "absent")
    for name in ("unsigned", "twice", "changed-title"):
        assert _seen(await bench.refused(call(name)), name) == absent
    assert _seen(await bench.refused(call("hidden", text=7, more=[])), "hidden") == absent


def _seen(answer: Answer, name: str) -> tuple[int, list[bytes], Any]:
    """What a caller sees of a refusal, the name of the tool aside: status, names of headers, error."""
    headers = sorted(name for name, _ in answer.head.headers if name != b"date")
    return answer.status, headers, json.loads(json.dumps(answer.error).replace(name, "TOOL"))


@check(26, "MCP 2026-07-28 basic/patterns/mrtr: requestState is passed unmodified")
async def a_request_for_input_and_its_state_pass_bit_by_bit(bench: Bench) -> None:
    async def asks(message: Message, answering: Answering) -> None:
        wanted = {
            "method": "elicitation/create",
            "params": {"message": "Sure?", "requestedSchema": {"type": "object"}},
        }
        result = {"resultType": "input_required", "inputRequests": {"ask": wanted}, "requestState": STATE}
        await answering.whole(response(message, result))

    request = _capable(modern("tools/call", {"name": "echo", "arguments": {}}))
    with bench.upstream.answering("tools/call", asks):
        result = (await bench.ask(request)).result
    assert (result["resultType"], result["requestState"]) == ("input_required", STATE)
    assert result["inputRequests"]["ask"]["params"]["message"] == "Sure?"
    retried = _capable(modern("tools/call", _retry("echo")))
    assert json.loads(await bench.passes(retried)) == json.loads(retried.body)


@check(26, "MCP 2026-07-28 basic/patterns/mrtr: a retry is a request of its own", Need.POLICY)
async def a_retry_is_authorised_as_any_call(bench: Bench) -> None:
    for name in ("pay", "hidden"):
        await bench.refused(_capable(modern("tools/call", _retry(name))))
    await bench.refused(modern("tools/call", _retry("pay")).replacing("Mcp-Name", "echo"))


def _retry(name: str) -> dict[str, Any]:
    answered = {"ask": {"action": "accept", "content": {}}}
    return {"name": name, "arguments": {}, "inputResponses": answered, "requestState": STATE}


def _capable(request: Outgoing) -> Outgoing:
    """`request` of a client that takes elicitation."""
    message = json.loads(request.body)
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {"form": {}}}
    return request.saying(json.dumps(message).encode())


@check(
    26, "MCP 2026-07-28 basic/patterns/mrtr: on tools/call, prompts/get and resources/read only", Need.POLICY
)
async def a_list_asks_for_no_input(bench: Bench) -> None:
    async def asks(message: Message, answering: Answering) -> None:
        result = {"resultType": "input_required", "inputRequests": {}, "requestState": "x", "tools": []}
        await answering.whole(response(message, result))

    with bench.upstream.answering("tools/list", asks):
        answer = await bench.ask(modern("tools/list"))
    assert answer.refuses


@check(27, "Streamable HTTP: an answer belongs to a request of the server")
async def an_answer_that_nobody_waits_for_reaches_nobody(bench: Bench) -> None:
    headers = legacy_call("echo").headers
    for members in ({"result": said("x")}, {"error": {"code": -1, "message": "no"}}):
        body = json.dumps({"jsonrpc": "2.0", "id": fresh_id(), **members}).encode()
        mark = len(bench.upstream.received)
        await bench.ask(Outgoing(body, headers))
        assert not bench.upstream.since(mark)
        modern_headers = (
            *(pair for pair in headers if pair[1] != LEGACY.encode()),
            *modern("tools/list").headers[2:],
        )
        await bench.ask(Outgoing(body, modern_headers))
        assert not bench.upstream.since(mark)


@check(26, "MCP 2026-07-28 basic/index, Responses: resultType")
async def a_result_of_a_type_that_nobody_knows_is_not_delivered(bench: Bench) -> None:
    async def surprises(message: Message, answering: Answering) -> None:
        await answering.whole(response(message, {"resultType": "suite-surprise", "run": "suite-payload"}))

    with bench.upstream.answering("tools/call", surprises):
        answer = await bench.ask(call("echo"))
    assert answer.refuses
    assert b"suite-payload" not in answer.body


@check(26, "MCP 2026-07-28 basic/patterns/mrtr: only what the client declared")
async def a_result_asks_only_what_the_client_declared(bench: Bench) -> None:
    asked = {"message": "Your password, please.", "requestedSchema": {"type": "object", "properties": {}}}
    question = {"method": "elicitation/create", "params": asked}

    async def asks(message: Message, answering: Answering) -> None:
        result = {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}
        await answering.whole(response(message, result))

    params = {"name": "echo", "arguments": {}}
    with bench.upstream.answering("tools/call", asks):
        refused = await bench.ask(modern("tools/call", params))
        declared = await bench.ask(_capable(modern("tools/call", params)))
    assert b"password" not in refused.body
    assert declared.result["inputRequests"] == {"q": question}


@check(27, "MCP 2025-11-25 client/elicitation: only what the client declared")
async def a_request_of_the_server_that_the_client_did_not_offer_to_take_is_not_delivered(
    bench: Bench,
) -> None:
    asked = {"message": "Your password, please.", "requestedSchema": {"type": "object", "properties": {}}}

    async def asks(message: Message, answering: Answering) -> None:
        request = {"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": asked}
        await answering.stream()
        await answering.event(json.dumps(request).encode())
        await answering.event(response(message, said("asked")))
        await answering.end()

    opened = await bench.ask(initialize())  # which declares sampling alone
    session = next((value.decode() for value in opened.head.values(b"mcp-session-id")), None)
    with bench.upstream.answering("tools/call", asks):
        answer = await bench.ask(legacy_call("echo", session=session, text="suite-asks"))
    assert b"password" not in answer.body


@check(28, "RFC 9110 section 15.6; no upstream internals")
async def a_server_that_fails_gives_nothing_of_itself_away(bench: Bench) -> None:
    async def fails(_: Message, answering: Answering) -> None:
        body = b"Traceback (most recent call last): /srv/secret/app.py line 7, db://root:hunter2@10.0.0.1"
        head = (
            b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nX-Debug: hunter2\r\nContent-Length: %d\r\n\r\n"
        )
        await answering.raw(head % len(body) + body)

    async def dies(_: Message, answering: Answering) -> None:
        answering.die()

    address = b"127.0.0.1:%d" % bench.upstream.port
    for handler in (fails, dies):
        with bench.upstream.answering("tools/call", handler):
            answer = await bench.ask(call("echo"))
        assert answer.refuses
        assert answer.media_type == b"application/json", "not in the form of an answer to a call"
        assert answer.response["error"]
        for secret in (b"hunter2", b"Traceback", b"/srv/", address):
            assert secret not in answer.head.raw + answer.body
