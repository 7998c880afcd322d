"""What a stdio client never says is said for it: mirrors in 2026-07-28, what `initialize` settled before."""

import json
from typing import Any, Final

import pytest

from spiffe_mcp.connect.conversation import Conversation
from spiffe_mcp.mcp import Message, Request, Response, parse
from spiffe_mcp.mcp.call import read_call

VERSION: Final = "2026-07-28"
JSON: Final = (
    (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json"),
)
REGION: Final = {"type": "string", "x-mcp-header": "Region"}
DEPLOY: Final = {"name": "deploy", "inputSchema": {"type": "object", "properties": {"region": REGION}}}


def message(method: str, params: Any = None, message_id: int | None = 1) -> Message:
    body = {"jsonrpc": "2.0", "method": method}
    body |= {} if params is None else {"params": params}
    return parse(json.dumps(body | ({} if message_id is None else {"id": message_id})).encode())


def request(method: str, params: Any = None) -> Request:
    found = message(method, params)
    assert isinstance(found, Request)
    return found


def modern(method: str, **params: Any) -> Request:
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return request(method, {"_meta": meta, **params})


def response(result: Any) -> Response:
    found = parse(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())
    assert isinstance(found, Response)
    return found


def initialized(session: bytes | None = b"s-1") -> Conversation:
    conversation = Conversation()
    opening = request("initialize", {"protocolVersion": "2025-11-25"})
    assert conversation.headers(opening) == JSON
    conversation.opened(opening, () if session is None else ((b"mcp-session-id", session),))
    conversation.answered(opening, response({"protocolVersion": "2025-06-18"}))
    return conversation


@pytest.mark.parametrize(
    ("said", "mirrors"),
    [
        (modern("tools/list"), {b"mcp-method": b"tools/list"}),
        (modern("tools/call", name="pay"), {b"mcp-method": b"tools/call", b"mcp-name": b"pay"}),
        (
            modern("resources/read", uri="a:ü"),
            {b"mcp-method": b"resources/read", b"mcp-name": b"=?base64?YTrDvA==?="},
        ),
        (modern("tools/call", name=7), {b"mcp-method": b"tools/call"}),
    ],
)
def test_a_modern_message_is_mirrored(said: Request, mirrors: dict[bytes, bytes]) -> None:
    headers = dict(Conversation().headers(said))
    assert headers == {**dict(JSON), **mirrors, b"mcp-protocol-version": VERSION.encode()}


def test_what_is_mirrored_is_what_a_reader_of_the_body_demands() -> None:
    said = modern("tools/call", name="grüße", arguments={})
    assert read_call(said, Conversation().headers(said)).name == "grüße"


def test_parameters_are_mirrored_once_the_tool_that_declares_them_was_listed() -> None:
    conversation, call = Conversation(), modern("tools/call", name="deploy", arguments={"region": "eu"})
    assert b"mcp-param-region" not in dict(conversation.headers(call))
    conversation.answered(modern("tools/list"), response({"tools": [DEPLOY, {"name": "other"}, "nonsense"]}))
    assert dict(conversation.headers(call))[b"mcp-param-region"] == b"eu"
    conversation.answered(modern("tools/list"), response({"tools": [{**DEPLOY, "inputSchema": {}}]}))
    assert b"mcp-param-region" not in dict(conversation.headers(call))


def test_a_declaration_that_breaks_the_rules_is_none() -> None:
    conversation = Conversation()
    conversation.answered(
        modern("tools/list"), response({"tools": [{"name": "deploy", "inputSchema": REGION}]})
    )
    call = modern("tools/call", name="deploy", arguments={"region": "eu"})
    assert b"mcp-param-region" not in dict(conversation.headers(call))


def test_a_legacy_message_carries_what_initialize_settled() -> None:
    settled = ((b"mcp-protocol-version", b"2025-06-18"), (b"mcp-session-id", b"s-1"))
    conversation = initialized()
    assert conversation.headers(request("tools/list")) == (*JSON, *settled)
    assert conversation.headers(message("notifications/initialized", message_id=None)) == (*JSON, *settled)
    assert conversation.headers(response({})) == (*JSON, *settled)
    assert conversation.standing() == settled
    assert conversation.is_legacy


def test_a_server_without_sessions_names_none() -> None:
    conversation = initialized(session=None)
    assert conversation.headers(request("tools/list")) == (*JSON, (b"mcp-protocol-version", b"2025-06-18"))
    assert conversation.session == ()


def test_a_modern_message_in_between_has_nothing_of_the_session() -> None:
    assert b"mcp-session-id" not in dict(initialized().headers(modern("tools/list")))


def test_a_new_session_takes_the_place_of_the_old_one() -> None:
    conversation = initialized()
    opening = conversation.initialize
    assert opening is not None
    assert b"mcp-session-id" not in dict(conversation.headers(opening))
    conversation.opened(opening, ((b"mcp-session-id", b"s-2"),))
    assert conversation.session == ((b"mcp-session-id", b"s-2"),)


def test_an_initialize_that_is_refused_settles_nothing() -> None:
    conversation = Conversation()
    refusal = parse(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}')
    assert isinstance(refusal, Response)
    conversation.answered(request("initialize"), refusal)
    assert not conversation.is_legacy
