"""Mirrored headers are read once, decoded strictly, and compared with the body."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.headers import compare_mirrors, decode, encode, mirror_headers, require_mirrors
from spiffe_mcp.mcp.message import Notification, Request

CALL = Request(b"", 1, "tools/call", {"name": "add"})
READ = Request(b"", 1, "resources/read", {"uri": "demo://thing/ü"})
GET_TASK = Request(b"", 1, "tasks/get", {"taskId": "t"})
LIST = Request(b"", 1, "tools/list", None)


def test_only_mcp_headers_are_taken_and_their_white_space_is_trimmed() -> None:
    headers = [
        (b"host", b"a"),
        (b"host", b"b"),
        (b"mcp-method", b" \ttools/call \t"),
        (b"x-mcp-name", b"add"),
    ]
    assert mirror_headers(headers) == {b"mcp-method": b"tools/call"}


@pytest.mark.parametrize("name", [b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-region"])
def test_a_header_given_twice_is_refused_even_if_both_agree(name: bytes) -> None:
    with pytest.raises(Refused) as refused:
        mirror_headers([(name, b"x"), (b"host", b"h"), (name, b"x")])
    assert refused.value.reason is Reason.MCP_HEADER_DUPLICATE


@pytest.mark.parametrize(
    ("message", "mirrors"),
    [
        (CALL, {b"mcp-method": b"tools/call", b"mcp-name": b"add"}),
        (CALL, {b"mcp-method": b"tools/call", b"mcp-name": b"=?base64?YWRk?="}),
        (READ, {b"mcp-name": b"=?base64?ZGVtbzovL3RoaW5nL8O8?="}),
        (GET_TASK, {b"mcp-method": b"tasks/get", b"mcp-name": b"t"}),
        (LIST, {b"mcp-method": b"tools/list"}),
        (LIST, {}),
        (Notification(b"", "notifications/initialized", None), {b"mcp-method": b"notifications/initialized"}),
    ],
)
def test_mirrors_that_agree_pass(message: Request, mirrors: dict[bytes, bytes]) -> None:
    compare_mirrors(mirrors, message)


@pytest.mark.parametrize(
    ("message", "mirrors", "reason"),
    [
        (CALL, {b"mcp-method": b"tools/list"}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-method": b"Tools/Call"}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-method": b""}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-name": b"allowed"}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-name": b"ADD"}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-name": b"=?base64?YWRkMg==?="}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-name": b"=?base64?YWRk"}, Reason.MCP_HEADER_MISMATCH),
        (CALL, {b"mcp-name": b"=?base64?YWRl\n?="}, Reason.MCP_HEADER_MALFORMED),
        (CALL, {b"mcp-name": b"\xc3\xbc"}, Reason.MCP_HEADER_MALFORMED),
        (GET_TASK, {b"mcp-name": b"u"}, Reason.MCP_HEADER_MISMATCH),
        (LIST, {b"mcp-name": b"add"}, Reason.MCP_HEADER_MISMATCH),
        (Request(b"", 1, "tools/call", {}), {b"mcp-name": b"None"}, Reason.MCP_HEADER_MISMATCH),
        (Request(b"", 1, "tools/call", {"name": 1}), {b"mcp-name": b"1"}, Reason.MCP_HEADER_MISMATCH),
    ],
)
def test_mirrors_that_disagree_are_refused(
    message: Request, mirrors: dict[bytes, bytes], reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        compare_mirrors(mirrors, message)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("message", "mirrors"),
    [
        (CALL, {}),
        (CALL, {b"mcp-name": b"add"}),
        (CALL, {b"mcp-method": b"tools/call"}),
        (READ, {b"mcp-method": b"resources/read"}),
        (GET_TASK, {b"mcp-method": b"tasks/get"}),
    ],
)
def test_the_mirrors_that_the_modern_era_demands_must_be_there(
    message: Request, mirrors: dict[bytes, bytes]
) -> None:
    with pytest.raises(Refused) as refused:
        require_mirrors(mirrors, message)
    assert refused.value.reason is Reason.MCP_HEADER_MISSING


def test_a_method_without_a_name_needs_no_name_header() -> None:
    require_mirrors({b"mcp-method": b"tools/list"}, LIST)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"=?base64?YWRk=?=", id="too much padding"),
        pytest.param(b"=?base64?YWQ?=", id="no padding"),
        pytest.param(b"=?base64?YWR=?=", id="bits after the last octet are not zero"),
        pytest.param(b"=?base64?YW Rk?=", id="white space inside"),
        pytest.param(b"=?base64?-_-_?=", id="the other alphabet"),
        pytest.param(b"=?base64?/w==?=", id="not UTF-8"),
        pytest.param(b"a\x00b", id="control character"),
        pytest.param(b"a\x7fb", id="delete"),
        pytest.param("ü".encode(), id="raw UTF-8"),
    ],
)
def test_a_value_that_two_readers_could_decode_differently_is_refused(value: bytes) -> None:
    with pytest.raises(Refused) as refused:
        decode(value)
    assert refused.value.reason is Reason.MCP_HEADER_MALFORMED


@pytest.mark.parametrize(
    "text", ["", "add", "a b", " a", "a\t", "ü", "=?base64?YWRk?=", "a\nb", "=?BASE64?x?="]
)
def test_what_is_encoded_is_decoded(text: str) -> None:
    assert decode(encode(text)) == text


def test_plain_text_stays_readable() -> None:
    assert encode("tools add") == b"tools add"
