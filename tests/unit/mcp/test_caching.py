"""What one caller is answered, no cache may hand to another, nor to itself for long."""

import json
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.caching import CACHED, kept_private, own
from spiffe_mcp.mcp.message import Response, parse
from spiffe_mcp.mcp.methods import REQUESTS

MAX = 1000


def response(result: str) -> Response:
    message = parse(b'{"jsonrpc":"2.0", "id":1,\n"result":%s}' % result.encode())
    assert isinstance(message, Response)
    return message


def kept(result: str) -> Any:
    return json.loads(kept_private(response(result), max_ttl_ms=MAX))["result"]


@pytest.mark.parametrize("scope", ['"public"', '"shared"', '"Private"', "null", "1", "{}"])
def test_whatever_the_scope_it_becomes_private(scope: str) -> None:
    assert kept(f'{{"cacheScope":{scope},"ttlMs":5}}') == {"cacheScope": "private", "ttlMs": 5}


@pytest.mark.parametrize(
    ("said", "becomes"),
    [("5", 5), ("1000", 1000), ("1001", 1000), ("86400000", 1000), ("1e9", 1000), ("0", 0), ("0.5", 0.5)],
)
def test_nothing_is_fresh_for_longer_than_allowed_nor_than_its_server_says(said: str, becomes: float) -> None:
    assert kept(f'{{"cacheScope":"private","ttlMs":{said}}}')["ttlMs"] == becomes


@pytest.mark.parametrize("unreadable", ["-1", '"60"', "true", "null", "[]"])
def test_a_lifetime_that_cannot_be_read_is_none(unreadable: str) -> None:
    assert kept(f'{{"cacheScope":"private","ttlMs":{unreadable}}}')["ttlMs"] == 0


def test_a_lifetime_without_a_scope_gets_one() -> None:
    assert kept('{"ttlMs":5,"contents":[]}') == {"cacheScope": "private", "ttlMs": 5, "contents": []}


@pytest.mark.parametrize(
    "result", ['{ "cacheScope":"private","ttlMs": 1000 }', '{"contents":[] }', "{}", '{"nextCursor": ""}']
)
def test_what_need_not_change_keeps_every_byte(result: str) -> None:
    answer = response(result)
    assert kept_private(answer, max_ttl_ms=MAX) is answer.raw


def test_what_changes_changes_nothing_beside_it() -> None:
    answer = response('{"n": 1.50, "cacheScope" :"public" ,"x":"\\u00fc", "ttlMs":1e9 }')
    expected = answer.raw.replace(b'"public"', b'"private"').replace(b"1e9", b"1000")
    assert kept_private(answer, max_ttl_ms=MAX) == expected


def test_an_error_passes_as_it_came() -> None:
    raw = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","cacheScope":"public"}}'
    message = parse(raw)
    assert isinstance(message, Response)
    assert kept_private(message, max_ttl_ms=MAX) == raw


@pytest.mark.parametrize("key", ["CacheScope", "cachescope", "TTLMs", "cache\u017fcope"])
def test_another_spelling_is_refused(key: str) -> None:
    with pytest.raises(Refused) as caught:
        own({key: "public"}, max_ttl_ms=MAX)
    assert caught.value.reason is Reason.MCP_ANSWER_MALFORMED


def test_every_cached_method_is_one_that_can_be_called() -> None:
    assert set().union(*REQUESTS.values()) >= CACHED
