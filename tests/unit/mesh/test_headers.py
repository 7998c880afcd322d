"""What crosses the mesh is listed; everything else does not cross."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mesh.headers import check_bodiless, check_json, forwarded, passed_request, passed_response

REQUEST = {
    b"accept", b"accept-language", b"content-type", b"traceparent", b"tracestate", b"user-agent",
    b"mcp-protocol-version", b"mcp-session-id", b"mcp-method", b"mcp-name", b"mcp-param-x",
}  # fmt: skip
RESPONSE = {b"cache-control", b"content-type", b"retry-after", b"mcp-session-id", b"mcp-protocol-version"}
NEITHER = {
    b"authorization", b"cookie", b"set-cookie", b"forwarded", b"via", b"x-forwarded-for", b"host", b"te",
    b"x-forwarded-client-cert", b"l5d-client-id", b"mesh-user-context", b"mesh-x", b"mesh_user_context",
    b"content-encoding", b"accept-encoding", b"content-length", b"transfer-encoding", b"connection",
    b"upgrade", b"www-authenticate", b"location", b"server", b"x-powered-by", b"mcp", b"mcp_session_id",
    b"mcp-session_id", b"mcp-protocol_version", b"mcp-else", b"x-mcp-name",
    b"access-control-allow-origin", b"alt-svc", b"",
}  # fmt: skip
ALL = tuple((name, b"v") for name in sorted(REQUEST | RESPONSE | NEITHER))


def test_of_a_request_exactly_the_listed_headers_pass() -> None:
    assert {name for name, _ in passed_request(ALL)} == REQUEST


def test_of_a_response_exactly_the_listed_headers_pass() -> None:
    names = {name for name, _ in passed_response(ALL)}
    assert {name for name in names if not name.startswith(b"mcp-")} == {
        b"cache-control", b"content-type", b"retry-after",
    }  # fmt: skip
    assert not {name for name in names & NEITHER if not name.startswith(b"mcp-")}
    assert names >= RESPONSE


def test_order_duplicates_and_odd_octets_stay_as_they_came() -> None:
    headers = ((b"mcp-param-b", b"\xff\t"), (b"accept", b""), (b"mcp-param-a", b"1"), (b"accept", b"x"))
    assert passed_request(headers) == headers


def test_names_are_matched_in_lower_case_alone() -> None:
    """The HTTP room hands them over so; anything else did not come from it."""
    assert passed_request(((b"Accept", b"x"), (b"MCP-Name", b"x"))) == ()


def test_what_goes_on_has_one_host_of_ours_and_the_bytes_that_came() -> None:
    came = Request(
        b"POST",
        b"/weather/mcp?x=1",
        ((b"host", b"evil"), (b"authorization", b"x"), (b"accept", b"y")),
        b"{} ",
    )
    assert forwarded(came, b"[::1]:8443", b"/mcp") == Request(
        b"POST", b"/mcp", ((b"host", b"[::1]:8443"), (b"accept", b"y")), b"{} "
    )


def test_a_body_where_none_belongs_is_refused_and_not_quoted() -> None:
    check_bodiless(Request(b"DELETE", b"/", ()))
    with pytest.raises(Refused) as caught:
        check_bodiless(Request(b"DELETE", b"/", (), b"secret"))
    assert (caught.value.reason, caught.value.detail) == (Reason.BODY_UNEXPECTED, "DELETE, 6 bytes")


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json", b"Application/JSON", b"application/json;charset=utf-8",
        b'application/json ;\tcharset="UTF-8" ',
    ],
)  # fmt: skip
def test_json_in_utf8_may_be_said_as_clients_say_it(kind: bytes) -> None:
    check_json(Request(b"POST", b"/", ((b"content-type", kind),)))


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        (b"",),
        (b"text/plain",),
        (b"application/x-www-form-urlencoded",),
        (b"application/json; charset=utf-7",),
        (b"application/json; charset=utf-16le",),
        (b"application/json; charset*=utf-8''utf-7",),
        (b"application/json; charset=utf-8; charset=utf-7",),
        (b'application/json; x="; charset=utf-8"',),
        (b"application/json, text/plain",),
        (b"application/json\xa0",),
        (b"application/json", b"application/json"),
    ],
)
def test_a_body_that_could_be_read_as_anything_but_json_in_utf8_is_refused(kinds: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused) as caught:
        check_json(Request(b"POST", b"/", tuple((b"content-type", kind) for kind in kinds)))
    assert caught.value.reason is Reason.CONTENT_TYPE
