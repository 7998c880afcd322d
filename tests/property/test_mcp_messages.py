"""For any bytes: a message or a refusal, never another exception; and rewriting loses nothing."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.mcp.answers import answer_for
from spiffe_mcp.mcp.call import read_call
from spiffe_mcp.mcp.era import presumed_era
from spiffe_mcp.mcp.headers import decode, encode
from spiffe_mcp.mcp.keys import fold
from spiffe_mcp.mcp.message import Message, Request, Response, parse
from spiffe_mcp.mcp.tools import rewrite_tool_list
from spiffe_mcp.strict_json import JsonValue, loads

texts = st.text(st.characters(codec="utf-8"), max_size=20)
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    [
        "jsonrpc",
        "id",
        "method",
        "params",
        "result",
        "error",
        "Method",
        "re\u017fult",
        "name",
        "arguments",
        "_meta",
    ]
)
methods = st.sampled_from(
    ["tools/call", "tools/list", "initialize", "notifications/initialized", "completion/complete"]
)
params = st.dictionaries(
    st.sampled_from(["name", "uri", "arguments", "_meta", "ref", "Name"]) | texts, json_values
)
envelopes = st.dictionaries(keys, json_values | methods, max_size=6) | st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={
        "id": json_values,
        "method": methods | texts,
        "params": params,
        "result": json_values,
        "error": json_values,
    },
)
headers = st.lists(
    st.tuples(
        st.sampled_from([b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"host"]),
        st.binary(max_size=12)
        | st.sampled_from([b"2026-07-28", b"2025-11-25", b"tools/call", b"=?base64?YQ==?="]),
    ),
    max_size=4,
)


def message_of(body: bytes) -> Message | Refused:
    try:
        return parse(body)
    except Refused as refused:
        return refused


@given(st.binary(max_size=200) | envelopes.map(lambda value: json.dumps(value).encode()), headers)
@example(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}', [])
def test_any_bytes_and_headers_are_read_or_refused(body: bytes, sent: list[tuple[bytes, bytes]]) -> None:
    message = message_of(body)
    if isinstance(message, Refused):
        return
    assert message.raw is body
    identifier = message.id if isinstance(message, (Request, Response)) else None
    try:
        call = read_call(message, sent)
    except Refused as refused:
        answer = json.loads(answer_for(refused, identifier, presumed_era(message)).body)
        assert answer["id"] == identifier
    else:
        assert call.raw is body


@given(st.binary(max_size=60))
def test_any_header_value_is_decoded_or_refused(value: bytes) -> None:
    try:
        text = decode(value)
    except Refused:
        return
    assert decode(encode(text)) == text


@given(texts)
def test_a_mirrored_text_survives_the_header(text: str) -> None:
    value = encode(text)
    assert decode(value) == text
    assert value == value.strip()
    assert value.isascii()


@given(texts)
def test_folding_joins_at_least_what_unicode_case_mappings_join(text: str) -> None:
    assert fold(text.upper()) == fold(text)


@given(
    st.lists(json_values | st.dictionaries(texts | st.just("name"), json_values)), json_values, json_values
)
def test_a_page_with_everything_kept_is_the_same_value(
    entries: list[JsonValue], meta: JsonValue, unknown: JsonValue
) -> None:
    named = {str(index): entry for index, entry in enumerate(entries)}
    tools: list[JsonValue] = [{"name": name, "x": entry} for name, entry in named.items()]
    page: JsonValue = {"_meta": meta, "tools": tools, "nextCursor": "", "unknown": unknown}
    body = json.dumps({"jsonrpc": "2.0", "unknown": unknown, "id": 1, "result": page}).encode()
    answer = message_of(body)
    assert isinstance(answer, Response)
    assert loads(rewrite_tool_list(answer, lambda tool: tool, max_ttl_ms=0)) == loads(body)
