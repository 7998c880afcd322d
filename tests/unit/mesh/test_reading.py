"""Both sides of a hop read a request by the same rules."""

from dataclasses import replace

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mcp import MODERN_VERSIONS, SUPPORTED_VERSIONS, Call
from spiffe_mcp.mesh.reading import (
    ClientAnswer,
    Listening,
    NotAllowed,
    SessionEnd,
    check_method,
    lasts,
    read_body,
)
from tests.exchange.playbook import answering, call, delete, listening, with_headers


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"PATCH", b"OPTIONS", b"post", b"QUERY"])
def test_other_methods_than_post_and_delete_are_refused(method: bytes) -> None:
    with pytest.raises(Refused) as caught:
        check_method(replace(call(), method=method))
    assert caught.value.reason is Reason.HTTP_METHOD


def test_where_there_are_no_sessions_none_can_be_ended() -> None:
    check_method(call(), MODERN_VERSIONS)
    with pytest.raises(NotAllowed) as caught:
        check_method(delete(b"s"), MODERN_VERSIONS)
    assert (caught.value.reason, caught.value.allow) == (Reason.HTTP_METHOD, b"POST")


@pytest.mark.parametrize("request_", [call(), delete(b"s")])
def test_these_two_are_not(request_: Request) -> None:
    check_method(request_)


def test_a_post_is_the_call_in_its_body() -> None:
    request = call(city="Oslo")
    read = read_body(request)
    assert isinstance(read, Call)
    assert (read.action, read.name, read.raw) == ("tools/call", "get_forecast", request.body)


def test_a_delete_is_no_call() -> None:
    assert read_body(delete(b"s")) == SessionEnd()


def test_a_posted_response_is_the_answer_of_a_client() -> None:
    read = read_body(answering("q-1", b"s"))
    assert isinstance(read, ClientAnswer)
    assert read.id == "q-1"


MODERN_HEADER = (b"mcp-protocol-version", b"2026-07-28")


@pytest.mark.parametrize(
    ("answer", "supported"),
    [
        pytest.param(answering(1, b"s", MODERN_HEADER), SUPPORTED_VERSIONS, id="of 2026-07-28"),
        pytest.param(answering(None, b"s"), SUPPORTED_VERSIONS, id="without an ID"),
    ],
)
def test_what_no_client_may_answer_is_refused(answer: Request, supported: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as caught:
        read_body(answer, supported)
    assert caught.value.reason in {Reason.MCP_RESPONSE_UNEXPECTED, Reason.MCP_ID_MALFORMED}


@pytest.mark.parametrize("version", [b"2025-11-25", b"1.0"])
def test_an_answer_is_of_a_version_that_is_spoken(version: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_body(answering(1, b"s", (b"mcp-protocol-version", version)), MODERN_VERSIONS)
    assert caught.value.reason is Reason.MCP_VERSION_UNSUPPORTED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(delete(b"s"), body=b"{}"), Reason.BODY_UNEXPECTED),
        (replace(call(), headers=((b"content-type", b"text/plain"),)), Reason.CONTENT_TYPE),
        (replace(call(), headers=(), body=b"["), Reason.CONTENT_TYPE),  # the type is looked at first
        (replace(call(), body=b"["), Reason.JSON_MALFORMED),
        (replace(call(), body=b"[]"), Reason.MCP_BATCH),
    ],
)
def test_what_cannot_be_read_is_refused_for_its_own_reason(request_: Request, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        read_body(request_)
    assert caught.value.reason is reason


def test_a_get_in_a_session_listens_and_may_go_on_after_an_event() -> None:
    check_method(listening(b"s"))
    assert read_body(listening(b"s")) == Listening(None)
    assert read_body(listening(b"s", b"e 1")) == Listening(b"e 1")


@pytest.mark.parametrize(
    ("request_", "supported"),
    [
        pytest.param(listening(None), SUPPORTED_VERSIONS, id="without a session"),
        pytest.param(listening(b"s", None, MODERN_HEADER), SUPPORTED_VERSIONS, id="of 2026-07-28"),
        pytest.param(listening(b"s"), MODERN_VERSIONS, id="where there are no sessions"),
    ],
)
def test_another_get_finds_no_stream(request_: Request, supported: tuple[str, ...]) -> None:
    with pytest.raises(NotAllowed) as caught:
        check_method(request_, supported)
    assert b"GET" not in caught.value.allow


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(listening(b"s"), body=b"{}"), Reason.BODY_UNEXPECTED),
        (with_headers(listening(b"s", b"1"), (b"last-event-id", b"2")), Reason.MCP_HEADER_DUPLICATE),
    ],
)
def test_a_get_that_could_be_read_in_two_ways_is_refused(request_: Request, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        read_body(request_)
    assert caught.value.reason is reason


def test_only_a_get_lasts() -> None:
    assert [lasts(read_body(request)) for request in (call(), delete(b"s"), listening(b"s"))] == [
        False, False, True,
    ]  # fmt: skip
