"""What the official SDK sends becomes a call; a message at odds with itself does not."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import read_call
from spiffe_mcp.mcp.era import MODERN_VERSIONS, Era
from spiffe_mcp.mcp.headers import Headers
from spiffe_mcp.mcp.message import parse
from spiffe_mcp.mcp.methods import Kind
from tests.unit.mcp import captured

Sent = tuple[bytes, tuple[tuple[bytes, bytes], ...]]


@pytest.mark.parametrize(
    ("sent", "era", "kind", "name"),
    [
        (captured.DISCOVER, Era.MODERN, Kind.NONE, None),
        (captured.MODERN_LIST, Era.MODERN, Kind.NONE, None),
        (captured.MODERN_CALL, Era.MODERN, Kind.TOOL, "add"),
        (captured.MODERN_CALL_WITH_PROGRESS, Era.MODERN, Kind.TOOL, "slow"),
        (captured.MODERN_READ, Era.MODERN, Kind.RESOURCE, "demo://thing/ü"),
        (captured.INITIALIZE, Era.LEGACY, Kind.NONE, None),
        (captured.INITIALIZED, Era.LEGACY, Kind.NONE, None),
        (captured.LEGACY_LIST, Era.LEGACY, Kind.NONE, None),
        (captured.LEGACY_CALL, Era.LEGACY, Kind.TOOL, "add"),
        (captured.LEGACY_PROMPT, Era.LEGACY, Kind.PROMPT, "hello"),
        (captured.LEGACY_READ, Era.LEGACY, Kind.RESOURCE, "demo://thing/ü"),
        (captured.PING, Era.LEGACY, Kind.NONE, None),
    ],
)
def test_captured_messages_are_read(sent: Sent, era: Era, kind: Kind, name: str | None) -> None:
    body, headers = sent
    call = read_call(parse(body), headers)
    assert (call.era, call.kind, call.name, call.raw) == (era, kind, name, body)


def test_a_call_says_everything_that_is_decided_by() -> None:
    body, headers = captured.MODERN_CALL
    call = read_call(parse(body), headers)
    assert (call.action, call.arguments, call.id) == ("tools/call", {"a": 1, "b": 2}, 3)
    assert call.revision.version == "2026-07-28"


def test_a_notification_has_no_id() -> None:
    body, headers = captured.INITIALIZED
    assert read_call(parse(body), headers).id is None


MODERN_CALL = captured.MODERN_CALL[0]
LEGACY_CALL = captured.LEGACY_CALL[0]
MODERN = (captured.MODERN_VERSION,)
LEGACY = (captured.LEGACY_VERSION,)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        # The bypass: the header names what is allowed, the body what is not.
        (LEGACY_CALL, (*LEGACY, (b"mcp-name", b"allowed")), Reason.MCP_HEADER_MISMATCH),
        (LEGACY_CALL, ((b"mcp-name", b"allowed"),), Reason.MCP_HEADER_MISMATCH),
        (LEGACY_CALL, (*LEGACY, (b"mcp-method", b"tools/list")), Reason.MCP_HEADER_MISMATCH),
        (
            MODERN_CALL,
            (*MODERN, (b"mcp-method", b"tools/call"), (b"mcp-name", b"sub")),
            Reason.MCP_HEADER_MISMATCH,
        ),
        (MODERN_CALL, (*MODERN, (b"mcp-method", b"tools/call")), Reason.MCP_HEADER_MISSING),
        (MODERN_CALL, (*MODERN, (b"mcp-name", b"add")), Reason.MCP_HEADER_MISSING),
        (MODERN_CALL, (), Reason.MCP_VERSION_MISMATCH),
        (MODERN_CALL, LEGACY, Reason.MCP_VERSION_MISMATCH),
        (MODERN_CALL, (*MODERN, *MODERN), Reason.MCP_HEADER_DUPLICATE),
        (MODERN_CALL, (*LEGACY, *MODERN), Reason.MCP_HEADER_DUPLICATE),
        (LEGACY_CALL, MODERN, Reason.MCP_META_MISSING),
        (LEGACY_CALL.replace(b'"id":3,', b""), LEGACY, Reason.MCP_REQUEST_WITHOUT_ID),
        (b'{"jsonrpc":"2.0","id":1,"method":"tasks/update"}', LEGACY, Reason.MCP_METHOD_UNKNOWN),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', LEGACY, Reason.MCP_RESPONSE_UNEXPECTED),
        (b'{"jsonrpc":"2.0","id":1,"error":{}}', MODERN, Reason.MCP_RESPONSE_UNEXPECTED),
        (b'{"jsonrpc":"2.0","method":"notifications/cancelled"}', MODERN, Reason.MCP_METHOD_UNKNOWN),
    ],
)
def test_a_message_at_odds_with_itself_or_the_list_is_refused(
    body: bytes, headers: Headers, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        read_call(parse(body), headers)
    assert refused.value.reason is reason


def test_a_modern_only_route_refuses_the_legacy_handshake() -> None:
    body, headers = captured.INITIALIZE
    with pytest.raises(Refused) as refused:
        read_call(parse(body), headers, MODERN_VERSIONS)
    assert refused.value.reason is Reason.MCP_ERA_BELOW_MINIMUM
