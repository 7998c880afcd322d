"""Point 4: what was authorised goes on, both ways, to the last digit; and an answer keeps its form."""

import json
from typing import Any, Final

from tests.intermediary.check import Bench, check
from tests.intermediary.mcp import call, response, said
from tests.intermediary.upstream import Answering, Message

# A number written in each way that some parser writes back otherwise.
NUMBERS: Final = (
    b"1.0", b"12345678901234567890123", b"1E5", b"1e-7", b"-0", b"-0.0", b"0.1000", b"9007199254740993",
    b"1.7976931348623157e308", b"5e-324", b"123456789.123456789", b"18446744073709551616",
)  # fmt: skip
UNKNOWN: Final = {"suite-unknown": {"deep": [None, {"": "\u2028\u00e9"}]}}


class Number(str):
    """A number, as it was written."""

    __slots__ = ()


def literally(document: bytes) -> Any:
    """The value of a document, in which numbers are the text they were written in."""
    return json.loads(document, parse_int=Number, parse_float=Number)


@check(4, "MCP basic/index; RFC 8259 section 6")
async def numbers_reach_the_server_as_they_were_written(bench: Bench) -> None:
    good = call("echo", values="@")
    request = good.saying(good.body.replace(b'"@"', b"[" + b", ".join(NUMBERS) + b"]"))
    assert literally(await bench.passes(request)) == literally(request.body)


@check(4, "MCP basic/index; RFC 8259 section 6")
async def numbers_reach_the_client_as_they_were_written(bench: Bench) -> None:
    async def counts(message: Message, answering: Answering) -> None:
        body = response(message, {**said("counted"), "structuredContent": {"values": "@"}})
        await answering.whole(body.replace(b'"@"', b"[" + b", ".join(NUMBERS) + b"]"))

    with bench.upstream.answering("tools/call", counts):
        answer = await bench.ask(call("echo"))
    assert answer.result
    assert answer.media_type == b"application/json", "it changed its form, too"
    result = literally(answer.body)["result"]
    assert [number.encode() for number in result["structuredContent"]["values"]] == [*NUMBERS]


@check(4, "MCP basic/index: unknown members are kept by whoever does not know them")
async def members_nobody_knows_reach_the_server(bench: Bench) -> None:
    good = call("echo", text="x")
    message = json.loads(good.body) | UNKNOWN
    message["params"] |= UNKNOWN
    message["params"]["_meta"] |= UNKNOWN
    assert json.loads(await bench.passes(good.saying(json.dumps(message).encode()))) == message


@check(4, "MCP basic/index: unknown members are kept by whoever does not know them")
async def members_nobody_knows_reach_the_client(bench: Bench) -> None:
    async def knows_more(message: Message, answering: Answering) -> None:
        result = said("more") | UNKNOWN
        result["content"] = [{"type": "text", "text": "more", **UNKNOWN}, {"type": "suite", **UNKNOWN}]
        body = {"jsonrpc": "2.0", "id": message["id"], "result": result, **UNKNOWN}
        await answering.whole(json.dumps(body).encode())

    with bench.upstream.answering("tools/call", knows_more):
        answer = await bench.ask(call("echo"))
    assert answer.response["suite-unknown"] == UNKNOWN["suite-unknown"]
    assert answer.result["suite-unknown"] == UNKNOWN["suite-unknown"]
    assert [item["suite-unknown"] for item in answer.result["content"]] == [UNKNOWN["suite-unknown"]] * 2


@check(4, "Streamable HTTP, Sending Messages")
async def a_json_answer_stays_json(bench: Bench) -> None:
    answer = await bench.ask(call("echo", text="form"))
    assert answer.result
    assert answer.media_type == b"application/json"


@check(4, "Streamable HTTP, Sending Messages")
async def a_stream_stays_a_stream(bench: Bench) -> None:
    async def streams(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(response(message, said("streamed")))
        await answering.end()

    with bench.upstream.answering("tools/call", streams):
        answer = await bench.ask(call("echo"))
    assert answer.result["content"][0]["text"] == "streamed"
    assert answer.media_type == b"text/event-stream"


@check(4, "MCP basic/index; SEP-2243, Security")
async def the_server_reads_the_body_that_was_authorised(bench: Bench) -> None:
    """White space, order of keys and escapes of the client's own; no second reader can be led elsewhere."""
    good = call("echo", text="x")
    message = json.loads(good.body)
    backwards = json.dumps(dict(reversed(message.items())), indent=3).replace('"echo"', '"\\u0065cho"')
    received = await bench.passes(good.saying(f"\r\n\t {backwards} \n".encode()))
    assert json.loads(received) == message
