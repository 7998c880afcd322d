"""A page of tools keeps everything but the tools that are not offered."""

import json

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.message import Response, parse
from spiffe_mcp.mcp.tools import ToolListPage, encode, parse_tool_list, rewrite_tool_list
from spiffe_mcp.strict_json import JsonObject, JsonValue
from tests.unit.mcp import captured


def response(result: str, identifier: str = "2") -> Response:
    message = parse(f'{{"jsonrpc":"2.0","id":{identifier},"result":{result}}}'.encode())
    assert isinstance(message, Response)
    return message


def same(tool: JsonObject) -> JsonObject | None:
    return tool


def rewritten(result: str, offered: dict[str, JsonObject]) -> JsonObject:
    def keep(tool: JsonObject) -> JsonObject | None:
        return offered.get(str(tool["name"]))

    body: JsonObject = json.loads(rewrite_tool_list(response(result), keep, max_ttl_ms=1000))
    page = body["result"]
    assert isinstance(page, dict)
    return page


def test_a_captured_page_is_parsed() -> None:
    answer = parse(captured.MODERN_PAGE)
    assert isinstance(answer, Response)
    assert answer.result is not None
    page = parse_tool_list(answer.result)
    assert [tool["name"] for tool in page.tools] == ["add", "slow"]
    assert (page.next_cursor, page.unnamed) == (None, 0)


def test_an_empty_cursor_is_a_cursor() -> None:
    assert parse_tool_list({"tools": [], "nextCursor": ""}) == ToolListPage((), "")


def test_a_tool_without_a_name_does_not_hide_the_others() -> None:
    good: JsonObject = {"name": "good"}
    bad: list[JsonValue] = [1, None, [], {}, {"name": 1}]
    assert parse_tool_list({"tools": [*bad, good]}) == ToolListPage((good,), None, unnamed=5)


@pytest.mark.parametrize(
    "result",
    [
        "{}",
        '{"tools":null}',
        '{"tools":{}}',
        '{"Tools":[]}',
        '{"tools":[],"TOOLS":[{"name":"evil"}]}',
        '{"tools":[],"tool\\u017f":[{"name":"evil"}]}',
        '{"tools":[],"NextCursor":"x"}',
        '{"tools":[],"resultType":"input_required"}',
        '{"tools":[],"resultType":null}',
    ],
)
def test_what_is_not_a_page_is_refused(result: str) -> None:
    answer = response(result)
    assert answer.result is not None
    with pytest.raises(Refused) as refused:
        parse_tool_list(answer.result)
    assert refused.value.reason is Reason.MCP_TOOL_LIST_MALFORMED
    with pytest.raises(Refused) as refused:
        rewrite_tool_list(answer, same, max_ttl_ms=0)
    assert refused.value.reason is Reason.MCP_TOOL_LIST_MALFORMED


@pytest.mark.parametrize("cursor", [1, True, [], {}])
def test_a_cursor_that_is_not_a_string_is_refused(cursor: JsonValue) -> None:
    with pytest.raises(Refused) as refused:
        parse_tool_list({"tools": [], "nextCursor": cursor})
    assert refused.value.reason is Reason.MCP_TOOL_LIST_MALFORMED


def test_only_offered_tools_remain_in_order_as_they_were_signed() -> None:
    signed: dict[str, JsonObject] = {"c": {"name": "c", "description": "signed"}, "a": {"name": "a"}}
    page = rewritten(
        '{"tools":[{"name":"a"},{"name":"b"},{"name":"c","description":"live"},7,{"name":3}]}', signed
    )
    assert page["tools"] == [signed["a"], signed["c"]]


def test_a_name_that_occurs_twice_is_offered_no_more() -> None:
    page = rewritten(
        '{"tools":[{"name":"a"},{"name":"b"},{"name":"a"}]}', {"a": {"name": "a"}, "b": {"name": "b"}}
    )
    assert page["tools"] == [{"name": "b"}]


def test_an_empty_page_keeps_its_cursor() -> None:
    page = rewritten('{"tools":[{"name":"a"}],"nextCursor":""}', {})
    assert page == {"tools": [], "nextCursor": ""}


@pytest.mark.parametrize(
    ("ttl", "clamped"),
    [("60000", 1000), ("5", 5), ("0", 0), ("1e9", 1000), ("-1", 0), ('"x"', 0), ("true", 0)],
)
def test_a_filtered_page_is_private_and_short_lived(ttl: str, clamped: int) -> None:
    page = rewritten(f'{{"tools":[],"cacheScope":"public","ttlMs":{ttl}}}', {})
    assert (page["cacheScope"], page["ttlMs"]) == ("private", clamped)


def test_a_lifetime_without_a_scope_becomes_private() -> None:
    assert rewritten('{"tools":[],"ttlMs":1}', {})["cacheScope"] == "private"


def test_a_legacy_page_gets_no_members_it_did_not_have() -> None:
    assert rewritten('{"tools":[]}', {}) == {"tools": []}


@pytest.mark.parametrize("identifier", ["2", '"2"', "9007199254740991", '"\\u00fc"'])
def test_all_else_stays_to_the_digit(identifier: str) -> None:
    body = (
        f'{{"jsonrpc":"2.0","x-trace":18446744073709551616,"id":{identifier},"result":{{"_meta":'
        '{"n":123456789012345678901234567890,"f":0.1,"e":1e-07,"neg":-0.0,"big":1e+22,"t":true,"z":null},'
        '"tools":[{"name":"a","x":"ü\u2028"}],"unknown":[[{}]]}}'
    ).encode()
    message = parse(body)
    assert isinstance(message, Response)
    expected = body.replace(b'"\\u00fc"', '"ü"'.encode())
    assert rewrite_tool_list(message, same, max_ttl_ms=0) == expected


def test_an_error_passes_as_it_came() -> None:
    body = b'{ "jsonrpc":"2.0", "id":2, "error":{"code":-32602,"message":"no such cursor"} }'
    message = parse(body)
    assert isinstance(message, Response)
    assert rewrite_tool_list(message, same, max_ttl_ms=0) == body


def test_what_is_encoded_is_compact_utf_8() -> None:
    assert encode({"a": ["ü", 2**64]}) == '{"a":["ü",18446744073709551616]}'.encode()
