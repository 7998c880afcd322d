"""What is fuzzed of what comes off a wire: JSON, JSON-RPC, server-sent events and HTTP, requests and answers.

Each target makes one hostile input from a `Random`, and takes nothing for it but a value or a `Refused`; and
a value has to be right:

 - a document is read as the parsers of servers read it, or refused (`json`);
 - a message passes as the bytes it was, and an error about it can be answered (`message`);
 - of an answer nothing leaves that is no message, nor one to another call, however it was cut (`answer`);
 - events are the same however they were cut, and are all of their bytes (`events`);
 - requests and answers are the same however they were cut (`request`, `response`).
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, TypeAlias

from spiffe_mcp.errors import Refused
from spiffe_mcp.mcp import (
    AnswerFilter,
    Call,
    CallJudge,
    Message,
    Request,
    Response,
    answer_for,
    parse,
    presumed_era,
    read_call,
)
from spiffe_mcp.mcp.sse import SseDecoder
from spiffe_mcp.strict_json import loads
from tests.fakes import json_corpus
from tests.fakes.json_readers import READERS, REFUSED, normal
from tests.fakes.memory_http import cut, receive, serve

Target: TypeAlias = Callable[[Random], None]

_IN_PROCESS: Final = [reader for reader in READERS if reader.name in {"Python's json", "orjson"}]
_CALL: Final = json_corpus.PLAIN
_MODERN: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},"_meta":'
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
)
_HEADERS: Final = (
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-protocol-version", b"2025-11-25"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"echo"),
    (b"mcp-name", b"=?base64?ZWNobw==?="),
    (b"mcp-session-id", b"x"),
    (b"mcp-param-a", b"\xff"),
)
ANSWERS: Final = (
    b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}',
    b'{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"smuggled"}]}}',
    b'{"jsonrpc":"2.0","id":"1","result":{}}',
    b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}',
    b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}',
    b"[]", b"{", b"",
)  # fmt: skip
_LINES: Final = (
    b"data: ",
    b"data:",
    b"data",
    b": c",
    b"id: 1",
    b"event: message",
    b"retry: 9",
    b"",
    b"\xef\xbb\xbf",
)
_ENDS: Final = (b"\n", b"\r", b"\r\n")
HTTP_PIECES: Final = (
    b"POST /a HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"hello",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"5;a=b\r\nhello\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"ffffffffffffffff\r\n",
    b"x" * 600,
)


def mutated(random: Random, document: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """`document` with a few places replaced by pieces or by anything."""
    changed = bytearray(document)
    for _ in range(random.choice((0, 0, 1, 2, 4))):
        place = random.randrange(len(changed) + 1)
        end = place + random.choice((0, 1, 1, 2, 8))
        changed[place:end] = random.choice((random.choice(pieces), random.randbytes(1), b""))
    return bytes(changed)


def _may_be_logged(refused: Refused) -> None:
    """Its detail cannot break a line or a terminal."""
    assert refused.detail.isascii()
    assert refused.detail.isprintable()


def in_pieces(random: Random, data: bytes) -> list[bytes]:
    return cut(data, [random.randrange(1 << 16) for _ in range(random.choice((0, 1, 3, 9)))])


def a_document(random: Random) -> None:
    """Read as others read it, or refused."""
    document = json_corpus.made(random.getrandbits(32))
    try:
        mine = normal(loads(document))
    except Refused as refused:
        _may_be_logged(refused)
        return
    for reader in _IN_PROCESS:
        (theirs,) = reader.read([document])
        assert theirs.value in {REFUSED, mine}, (reader.name, document)


def a_message(random: Random) -> None:
    """A call whose bytes are what came, or a refusal that can be answered."""
    body = mutated(
        random,
        random.choice((_CALL, _MODERN, _MODERN, *ANSWERS)),
        (b'"id"', b"null", b"1.5", b'"Name"', b","),
    )
    headers = [random.choice(_HEADERS) for _ in range(random.choice((0, 2, 3, 3, 4)))]
    try:
        message = parse(body)
    except Refused:
        return
    assert message.raw == body
    try:
        assert read_call(message, headers).raw == body
    except Refused as refused:
        _can_be_answered(refused, message)


def _can_be_answered(refused: Refused, message: Message) -> None:
    identifier = message.id if isinstance(message, (Request, Response)) else None
    assert json.loads(answer_for(refused, identifier, presumed_era(message)).body)["id"] == identifier


def _called() -> Call:
    headers = (
        (b"mcp-protocol-version", b"2026-07-28"),
        (b"mcp-method", b"tools/call"),
        (b"mcp-name", b"echo"),
    )
    return read_call(parse(_MODERN), headers)


def stream(random: Random) -> bytes:
    """Lines of a stream of events, some with messages in them."""
    lines = []
    for _ in range(random.randrange(12)):
        line = random.choice(_LINES)
        if line.startswith(b"data:"):
            line += random.choice(ANSWERS)
        lines.append(line + random.choice(_ENDS) * random.choice((1, 1, 2)))
    return mutated(random, b"".join(lines), (b"data", b"\r", b"\n", b"\xc2\x85", b"\xe2\x80\xa8", b"\0"))


def an_answer(random: Random) -> None:
    """Nothing leaves but this call's answer and notifications, whole, however it came."""
    call, kind = _called(), random.choice(("application/json", "text/event-stream"))
    body = (
        mutated(random, random.choice(ANSWERS), (b'"id"', b"2"))
        if kind == "application/json"
        else stream(random)
    )
    answer = AnswerFilter.of(kind, CallJudge(call, lambda response: response.raw))
    left = b""
    try:
        for piece in in_pieces(random, body):
            left += answer.feed(piece)
        left += answer.finish()
    except Refused:
        pass
    events = [event.data for event in SseDecoder().feed(left)] if kind == "text/event-stream" else [left]
    for passed in (parse(data) for data in events if data):
        assert not isinstance(passed, Request), "a request of the server's own"
        assert b"smuggled" not in passed.raw, "what answers another call"
        assert not isinstance(passed, Response) or passed.id in (1, None), "an answer to another call"


def events(random: Random) -> None:
    """The same however they are cut, and every byte of them."""
    whole_stream = stream(random)
    found = []
    for pieces in ([whole_stream], in_pieces(random, whole_stream)):
        decoder = SseDecoder()
        try:
            found.append([event for piece in pieces for event in decoder.feed(piece)])
        except Refused as refused:
            _may_be_logged(refused)
            return
    whole, again = found
    assert [event.data for event in whole if event.data is not None] == [
        event.data for event in again if event.data is not None
    ]
    assert b"".join(event.raw for event in again) == b"".join(event.raw for event in whole)
    assert whole_stream.startswith(b"".join(event.raw for event in whole))


def _http(random: Random) -> bytes:
    whole = b"".join(random.choice(HTTP_PIECES) for _ in range(random.randrange(14)))
    return mutated(random, whole, HTTP_PIECES)


def a_request(random: Random) -> None:
    """The same requests however they are cut, each answered once, and no more than one refusal."""
    data = _http(random)
    requests, reasons, _ = asyncio.run(serve([data]))
    again, reasons_again, written = asyncio.run(serve(in_pieces(random, data)))
    assert again == requests
    assert len(reasons) == len(reasons_again) <= 1
    answers = written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers[: len(requests)]] == [b"200"] * len(requests)


def a_response(random: Random) -> None:
    """The same answer however it is cut, or none."""
    data = random.choice((b"", b"HTTP/1.1 200 OK\r\n")) + _http(random)
    assert asyncio.run(receive([data])) == asyncio.run(receive(in_pieces(random, data)))


WIRE_TARGETS: Final[Mapping[str, Target]] = {
    "json": a_document,
    "message": a_message,
    "answer": an_answer,
    "events": events,
    "request": a_request,
    "response": a_response,
}
