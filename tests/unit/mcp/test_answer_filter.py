"""An upstream's answer passes as it came, is rewritten, or is cut before a byte of what is wrong leaves."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.answer_filter import AnswerFilter, NothingFilter
from spiffe_mcp.mcp.call import Call, read_call
from spiffe_mcp.mcp.judge import CallJudge
from spiffe_mcp.mcp.message import Response, parse
from spiffe_mcp.mcp.tools import rewrite_tool_list
from tests.unit.mcp import captured

JSON = "application/json"
STREAM = "text/event-stream"

CALL = read_call(parse(captured.MODERN_CALL[0]), captured.MODERN_CALL[1])
SLOW = read_call(parse(captured.MODERN_CALL_WITH_PROGRESS[0]), captured.MODERN_CALL_WITH_PROGRESS[1])
LIST = read_call(parse(captured.MODERN_LIST[0]), captured.MODERN_LIST[1])
NOTIFICATION = read_call(parse(captured.INITIALIZED[0]), captured.INITIALIZED[1])


def only_add(answer: Response) -> bytes:
    return rewrite_tool_list(
        answer, lambda tool: {"name": "add"} if tool["name"] == "add" else None, max_ttl_ms=0
    )


def filtered(call: Call, content_type: str | None, *chunks: bytes) -> bytes:
    answer = AnswerFilter.of(content_type, CallJudge(call, only_add if call is LIST else None))
    return b"".join([*map(answer.feed, chunks), answer.finish()])


def data(document: bytes) -> bytes:
    return b"data: " + document + b"\n\n"


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_a_json_answer_passes_as_it_came(content_type: str) -> None:
    assert filtered(CALL, content_type, captured.MODERN_CALLED) == captured.MODERN_CALLED


def test_a_json_answer_leaves_only_when_it_is_whole_and_read() -> None:
    answer = AnswerFilter.of(JSON, CallJudge(CALL))
    assert answer.feed(captured.MODERN_CALLED[:50]) == b""
    assert answer.feed(captured.MODERN_CALLED[50:]) == b""
    assert not answer.answered
    assert answer.finish() == captured.MODERN_CALLED
    assert answer.answered


@pytest.mark.parametrize("size", [1, 13, 10_000])
def test_a_stream_passes_as_it_came(size: int) -> None:
    stream = captured.MODERN_STREAM
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert filtered(SLOW, STREAM, *chunks) == stream


def test_each_event_leaves_as_soon_as_it_is_whole() -> None:
    answer = AnswerFilter.of(STREAM, CallJudge(SLOW))
    first, rest = captured.MODERN_STREAM.split(b": ping", 1)
    assert answer.feed(first) == first
    assert answer.feed(b": ping\r\n") == b": ping\r\n"
    assert not answer.answered
    assert answer.feed(rest[2:]) == rest[2:]
    assert answer.answered


def test_a_json_page_of_tools_is_rewritten_and_stays_json() -> None:
    assert filtered(LIST, JSON, captured.MODERN_PAGE) == (
        b'{"jsonrpc":"2.0","id":2,"result":{"cacheScope":"private","resultType":"complete",'
        b'"tools":[{"name":"add"}],"ttlMs":0,'
        b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"demo","version":"1.0.0"}}}}'
    )


def test_a_page_of_tools_in_a_stream_is_rewritten_and_its_event_kept() -> None:
    stream = (
        b'id: 5\r\nevent: message\r\ndata: {"jsonrpc":"2.0","id":2,\r\n'
        b'data: "result":{"tools":[{"name":"x"}]}}\r\n\r\n'
    )
    expected = b'id: 5\r\nevent: message\r\ndata: {"jsonrpc":"2.0","id":2,"result":{"tools":[]}}\r\n\r\n'
    assert filtered(LIST, STREAM, stream) == expected


def test_a_second_page_for_the_same_id_is_rewritten_too() -> None:
    page = data(b'{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"evil"}]}}')
    assert b"evil" not in filtered(LIST, STREAM, page, page)


def test_an_error_about_an_unread_request_passes() -> None:
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}'
    assert filtered(CALL, JSON, body) == body


TOOLS = b'"result":{"tools":[{"name":"evil"}]}}'

# Bodies that are refused in both forms.
HOSTILE = [
    pytest.param(
        b'{"jsonrpc":"2.0","id":4,' + TOOLS, Reason.MCP_ANSWER_UNEXPECTED, id="tools for another ID"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":"3",' + TOOLS, Reason.MCP_ANSWER_UNEXPECTED, id="the ID as a string"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":4,"result":{}}', Reason.MCP_ANSWER_UNEXPECTED, id="other ID, no tools"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":3.0,' + TOOLS, Reason.MCP_ANSWER_MALFORMED, id="the ID as a float"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":null,' + TOOLS, Reason.MCP_ANSWER_MALFORMED, id="tools without an ID"
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":3,"Result":{},' + TOOLS, Reason.MCP_ANSWER_MALFORMED, id="two results"
    ),
    pytest.param(b'[{"jsonrpc":"2.0","id":3,' + TOOLS + b"]", Reason.MCP_ANSWER_MALFORMED, id="batch"),
    pytest.param(b"not json", Reason.MCP_ANSWER_MALFORMED, id="not JSON"),
    pytest.param(b'{"jsonrpc":"2.0","id":3,"id":4,' + TOOLS, Reason.MCP_ANSWER_MALFORMED, id="two IDs"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":3,"method":"sampling/createMessage","params":{}}',
        Reason.MCP_SERVER_REQUEST_REFUSED,
        id="sampling",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","id":"x","method":"elicitation/create"}',
        Reason.MCP_SERVER_REQUEST_REFUSED,
        id="elicitation",
    ),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_hostile_json_is_refused_whole(body: bytes, reason: Reason) -> None:
    answer = AnswerFilter.of(JSON, CallJudge(CALL))
    assert answer.feed(body) == b""
    with pytest.raises(Refused) as refused:
        answer.finish()
    assert refused.value.reason is reason


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_a_hostile_event_cuts_the_stream(body: bytes, reason: Reason) -> None:
    answer = AnswerFilter.of(STREAM, CallJudge(CALL))
    assert answer.feed(b": ping\n\ndata: ") == b": ping\n\n"
    with pytest.raises(Refused) as refused:
        answer.feed(body + b"\n\n")
    assert refused.value.reason is reason


def test_tools_are_not_smuggled_past_a_list_under_another_id() -> None:
    answer = AnswerFilter.of(STREAM, CallJudge(LIST, only_add))
    with pytest.raises(Refused) as refused:
        answer.feed(data(b'{"jsonrpc":"2.0","id":"2",' + TOOLS))
    assert refused.value.reason is Reason.MCP_ANSWER_UNEXPECTED


def test_a_page_that_cannot_be_filtered_is_refused() -> None:
    answer = AnswerFilter.of(STREAM, CallJudge(LIST, only_add))
    with pytest.raises(Refused) as refused:
        answer.feed(data(b'{"jsonrpc":"2.0","id":2,"result":{"tools":[],"Tools":[{"name":"evil"}]}}'))
    assert refused.value.reason is Reason.MCP_TOOL_LIST_MALFORMED


def test_a_notification_is_not_a_json_answer() -> None:
    answer = AnswerFilter.of(JSON, CallJudge(CALL))
    answer.feed(b'{"jsonrpc":"2.0","method":"notifications/progress"}')
    with pytest.raises(Refused) as refused:
        answer.finish()
    assert refused.value.reason is Reason.MCP_ANSWER_UNEXPECTED


@pytest.mark.parametrize("stream", [b"", b": wait\n\n", b"data: " + captured.MODERN_CALLED])
def test_a_stream_that_ends_before_its_answer_is_cut(stream: bytes) -> None:
    """Nobody can ask for the rest; and an event that the end cut off is none."""
    answer = AnswerFilter.of(STREAM, CallJudge(CALL))
    answer.feed(stream)
    with pytest.raises(Refused) as caught:
        answer.finish()
    assert caught.value.reason is Reason.MCP_ANSWER_MISSING


def test_a_json_body_over_the_limit_is_refused_as_it_comes() -> None:
    answer = AnswerFilter.of(JSON, CallJudge(CALL), max_bytes=10)
    answer.feed(b"x" * 10)
    with pytest.raises(Refused) as refused:
        answer.feed(b"x")
    assert refused.value.reason is Reason.MCP_ANSWER_TOO_LARGE


def test_an_event_over_the_limit_is_refused_as_it_comes() -> None:
    answer = AnswerFilter.of(STREAM, CallJudge(CALL), max_bytes=10)
    with pytest.raises(Refused) as refused:
        answer.feed(b"data: xxxxx")
    assert refused.value.reason is Reason.SSE_TOO_LARGE


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "",
        "text/plain; application/json",
        "application/json; charset=utf-16",
        "text/event-stream;charset=latin1",
    ],
)
def test_other_forms_are_refused(content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        AnswerFilter.of(content_type, CallJudge(CALL))
    assert refused.value.reason is Reason.MCP_ANSWER_TYPE


def test_a_notification_is_answered_by_nothing() -> None:
    answer = NothingFilter(CallJudge(NOTIFICATION))
    assert answer.feed(b"") + answer.finish() == b""
    with pytest.raises(Refused) as refused:
        answer.feed(b"{")
    assert refused.value.reason is Reason.MCP_ANSWER_UNEXPECTED


def test_a_request_is_not_answered_by_nothing() -> None:
    with pytest.raises(Refused) as refused:
        filtered(CALL, None)
    assert refused.value.reason is Reason.MCP_ANSWER_MISSING


# -- what a server tells, and what its result may be --------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["notifications/tools/list_changed", "sampling/createMessage", "notifications/made_up"]
)
def test_a_notification_that_is_not_on_the_list_is_left_out_and_its_id_is_not(method: str) -> None:
    stray = b'id: 7\r\nretry: 5\r\ndata: {"jsonrpc":"2.0","method":"%s"}\r\n\r\n' % method.encode()
    rest = captured.MODERN_STREAM
    assert filtered(SLOW, STREAM, stray, rest) == b"id: 7\nretry: 5\n\n" + rest


def test_a_result_of_an_unknown_type_is_refused_in_both_forms() -> None:
    body = b'{"jsonrpc":"2.0","id":3,"result":{"resultType":"surprise","content":[]}}'
    for content_type, document in ((JSON, body), (STREAM, data(body))):
        with pytest.raises(Refused) as caught:
            filtered(CALL, content_type, document)
        assert caught.value.reason is Reason.MCP_RESULT_TYPE
