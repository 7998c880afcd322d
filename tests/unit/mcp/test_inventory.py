"""The ingress's own requests are ones that our own reader, and the official SDK, accept."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import read_call
from spiffe_mcp.mcp.era import NEGOTIATING, Era, Revision, VersionRefused
from spiffe_mcp.mcp.inventory import (
    OutgoingMessage,
    Upstream,
    discover_request,
    initialize_request,
    initialized_notification,
    list_tools_request,
    newest_shared,
    parse_discover_result,
    parse_initialize_result,
    read_result,
)
from spiffe_mcp.mcp.message import parse
from spiffe_mcp.strict_json import JsonObject, JsonValue
from tests.unit.mcp import captured

MODERN = Revision(Era.MODERN, "2026-07-28")
LEGACY = Revision(Era.LEGACY, "2025-06-18")


@pytest.mark.parametrize(
    ("outgoing", "era", "action"),
    [
        (discover_request(1), Era.MODERN, "server/discover"),
        (initialize_request(1), Era.LEGACY, "initialize"),
        (initialized_notification("2025-11-25"), Era.LEGACY, "notifications/initialized"),
        (list_tools_request(MODERN, 1), Era.MODERN, "tools/list"),
        (list_tools_request(LEGACY, 1), Era.LEGACY, "tools/list"),
        (list_tools_request(MODERN, 1, ""), Era.MODERN, "tools/list"),
    ],
)
def test_what_we_send_keeps_the_rules_we_check(outgoing: OutgoingMessage, era: Era, action: str) -> None:
    call = read_call(parse(outgoing.body), outgoing.headers)
    assert (call.era, call.action) == (era, action)


@pytest.mark.parametrize(
    ("revision", "cursor", "params"),
    [
        (LEGACY, None, None),
        (LEGACY, "", {"cursor": ""}),
        (LEGACY, "ü", {"cursor": "ü"}),
    ],
)
def test_a_cursor_is_sent_as_it_was_given(revision: Revision, cursor: str | None, params: object) -> None:
    message = parse(list_tools_request(revision, "a", cursor).body)
    assert read_call(message, list_tools_request(revision, "a", cursor).headers).message.params == params


def test_a_legacy_request_names_the_agreed_version() -> None:
    assert (b"mcp-protocol-version", b"2025-06-18") in list_tools_request(LEGACY, 1).headers


def test_initialize_carries_no_version_header() -> None:
    assert b"mcp-protocol-version" not in dict(initialize_request(1).headers)


def test_nothing_is_listed_before_a_version_is_agreed() -> None:
    with pytest.raises(Refused) as refused:
        list_tools_request(NEGOTIATING, 1)
    assert refused.value.reason is Reason.MCP_VERSION_UNSUPPORTED


def test_a_captured_discovery_names_a_modern_revision() -> None:
    result = read_result(captured.DISCOVERED, "application/json", 1)
    assert parse_discover_result(result) == Upstream(MODERN, has_tools=True)


def test_a_captured_handshake_names_a_legacy_revision() -> None:
    result = read_result(captured.INITIALIZE_STREAM, "text/event-stream", 1)
    assert parse_initialize_result(result) == Upstream(Revision(Era.LEGACY, "2025-11-25"), has_tools=True)


def test_an_answer_among_notifications_is_found() -> None:
    assert "content" in read_result(captured.MODERN_STREAM, "text/event-stream", 4)


@pytest.mark.parametrize("capabilities", [{}, {"tools": None}, [], None])
def test_an_upstream_without_the_capability_has_no_tools(capabilities: object) -> None:
    result: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": capabilities}  # type: ignore[dict-item]  # any JSON
    assert not parse_initialize_result(result).has_tools


@pytest.mark.parametrize("version", [None, 1, "2026-07-28", "1999-01-01", []])
def test_a_handshake_that_settles_on_no_legacy_version_is_refused(version: object) -> None:
    with pytest.raises(Refused) as refused:
        parse_initialize_result({"protocolVersion": version})  # type: ignore[dict-item]  # any JSON
    assert refused.value.reason is Reason.MCP_VERSION_UNSUPPORTED


@pytest.mark.parametrize("versions", [None, [], ["2025-11-25"], "2026-07-28", {"2026-07-28": 1}])
def test_a_discovery_without_a_modern_version_is_refused(versions: object) -> None:
    with pytest.raises(Refused) as refused:
        parse_discover_result({"supportedVersions": versions})  # type: ignore[dict-item]  # any JSON
    assert refused.value.reason is Reason.MCP_VERSION_UNSUPPORTED


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"x"}}', "application/json", "ERROR"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}', "application/json", "ERROR"),
        (b'{"jsonrpc":"2.0","id":1,"error":{}}', "application/json", "ERROR"),
        (b'{"jsonrpc":"2.0","id":2,"result":{}}', "application/json", "MISSING"),
        (b'{"jsonrpc":"2.0","id":"1","result":{}}', "application/json", "MISSING"),
        (b'{"jsonrpc":"2.0","method":"x"}', "application/json", "MISSING"),
        (b"", "text/event-stream", "MISSING"),
        (b'data: {"jsonrpc":"2.0","id":1,"result":{}}\n', "text/event-stream", "MISSING"),
        (b"", "application/json", "MALFORMED"),
        (b"data: x\n\n", "text/event-stream", "MALFORMED"),
        (b"<html>", "text/html", "TYPE"),
    ],
)
def test_an_answer_that_is_none_is_refused(body: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_result(body, content_type, 1)
    assert refused.value.reason is Reason[f"MCP_ANSWER_{reason}"]


def test_an_answer_that_refuses_the_version_says_which_are_spoken() -> None:
    data = b'{"supported":["2026-07-28",1]}'
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":%s}}' % data
    with pytest.raises(VersionRefused) as refused:
        read_result(body, "application/json", 1)
    assert refused.value.supported == ("2026-07-28",)


OFFERS: list[tuple[list[JsonValue], str | None]] = [
    (["1", "2026-07-28"], "2026-07-28"),
    (["2025-11-25"], None),
]


@pytest.mark.parametrize(("offered", "version"), OFFERS)
def test_of_what_is_offered_the_newest_modern_version_is_shared(
    offered: list[JsonValue], version: str | None
) -> None:
    assert newest_shared(offered) == version
