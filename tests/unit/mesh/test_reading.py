"""Both sides of a hop read a request by the same rules."""

from dataclasses import replace

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mcp import MODERN_VERSIONS
from spiffe_mcp.mesh.reading import NotAllowed, check_method, read_body
from tests.exchange.playbook import call, delete


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
    assert read is not None
    assert (read.action, read.name, read.raw) == ("tools/call", "get_forecast", request.body)


def test_a_delete_is_no_call() -> None:
    assert read_body(delete(b"s")) is None


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
