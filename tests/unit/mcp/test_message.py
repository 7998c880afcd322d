"""One message comes out of a body, or a refusal with the reason of the rule it broke."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.message import MAX_ID_LENGTH, Notification, Request, Response, parse
from tests.unit.mcp import captured


def test_a_request_keeps_its_bytes_and_says_what_it_asks() -> None:
    body, _ = captured.LEGACY_CALL
    assert parse(body) == Request(body, 3, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})


def test_a_notification_has_no_id() -> None:
    body, _ = captured.INITIALIZED
    assert parse(body) == Notification(body, "notifications/initialized", None)


def test_a_result_and_an_error_are_responses() -> None:
    answer = parse(captured.MODERN_CALLED)
    assert isinstance(answer, Response)
    assert answer.id == 3
    assert answer.error is None
    failed = parse(b'{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"no"}}')
    assert isinstance(failed, Response)
    assert failed.result is None
    assert failed.error == {"code": -32603, "message": "no"}


@pytest.mark.parametrize("end", [b'"id":null,', b""])
def test_an_error_about_an_unread_request_has_no_id(end: bytes) -> None:
    answer = parse(b'{"jsonrpc":"2.0",' + end + b'"error":{"code":-32700,"message":"no"}}')
    assert isinstance(answer, Response)
    assert answer.id is None


def test_unknown_keys_of_the_envelope_are_kept_in_the_bytes() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping","x-trace":[1,2]}'
    assert parse(body).raw == body


@pytest.mark.parametrize(
    "identifier", [0, -1, 2**53 - 1, -(2**53) + 1, '""', '"\\u00fc"', '"' + "x" * MAX_ID_LENGTH + '"']
)
def test_strings_and_integers_are_ids(identifier: object) -> None:
    message = parse(f'{{"jsonrpc":"2.0","id":{identifier},"method":"ping"}}'.encode())
    assert isinstance(message, Request)


HOSTILE = [
    # JSON that is not strict
    (b"", Reason.JSON_MALFORMED),
    (b"{", Reason.JSON_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}', Reason.JSON_MALFORMED),
    ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), Reason.JSON_NOT_UTF8),
    (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', Reason.JSON_NOT_UTF8),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', Reason.JSON_DUPLICATE_KEY),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0065thod":"x"}', Reason.JSON_DUPLICATE_KEY),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}',
        Reason.JSON_DUPLICATE_KEY,
    ),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', Reason.JSON_NUMBER),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}', Reason.JSON_SURROGATE),
    # not one message
    (b"[]", Reason.MCP_BATCH),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', Reason.MCP_BATCH),
    (b'"ping"', Reason.MCP_ENVELOPE_MALFORMED),
    (b"null", Reason.MCP_ENVELOPE_MALFORMED),
    (b"{}", Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"id":1,"method":"ping"}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":""}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":["ping"]}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":null}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 257 + b'"}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","error":null}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"result":null}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"result":[]}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"error":"no"}', Reason.MCP_ENVELOPE_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"result":{},"params":{}}', Reason.MCP_ENVELOPE_MALFORMED),
    # keys in another case
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","ID":2}', Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","PARAMS":{}}', Reason.MCP_KEY_CASE),
    (b'{"jsonRpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}', Reason.MCP_KEY_CASE),
    ('{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}'.encode(), Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","re\\u017fult":{}}', Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"x"}}', Reason.MCP_KEY_CASE),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","ARGUMENTS":{}}}',
        Reason.MCP_KEY_CASE,
    ),
    (b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"URI":"x"}}', Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_Meta":{}}}', Reason.MCP_KEY_CASE),
    (b'{"jsonrpc":"2.0","method":"tools/call","params":{"Name":"x"}}', Reason.MCP_KEY_CASE),
    (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"argument\u017f":{}}}'.encode(),
        Reason.MCP_KEY_CASE,
    ),
    (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"ta\u017f\u212a":{}}}'.encode(),
        Reason.MCP_KEY_CASE,
    ),
    # identifiers
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":-9007199254740992,"method":"ping"}', Reason.MCP_ID_MALFORMED),
    (
        b'{"jsonrpc":"2.0","id":"' + b"x" * (MAX_ID_LENGTH + 1) + b'","method":"ping"}',
        Reason.MCP_ID_MALFORMED,
    ),
    (b'{"jsonrpc":"2.0","result":{}}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":null,"result":{}}', Reason.MCP_ID_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1.5,"result":{}}', Reason.MCP_ID_MALFORMED),
    # params
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}', Reason.MCP_PARAMS_MALFORMED),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', Reason.MCP_PARAMS_MALFORMED),
    (b'{"jsonrpc":"2.0","method":"ping","params":"x"}', Reason.MCP_PARAMS_MALFORMED),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        parse(body)
    assert refused.value.reason is reason


def test_a_body_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Refused) as refused:
        parse(b"[" * 100, max_bytes=99)
    assert refused.value.reason is Reason.JSON_TOO_LARGE
