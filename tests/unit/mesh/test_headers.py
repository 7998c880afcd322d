"""What crosses the mesh is listed; everything else does not cross."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mesh.headers import check_bodiless, passed_request, passed_response

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
    b"x-mcp-name", b"access-control-allow-origin", b"alt-svc", b"",
}  # fmt: skip
ALL = tuple((name, b"v") for name in sorted(REQUEST | RESPONSE | NEITHER))


def test_of_a_request_exactly_the_listed_headers_pass() -> None:
    assert {name for name, _ in passed_request(ALL)} == REQUEST


def test_of_a_response_exactly_the_listed_headers_pass() -> None:
    names = {name for name, _ in passed_response(ALL)}
    assert {name for name in names if not name.startswith(b"mcp-")} == {
        b"cache-control", b"content-type", b"retry-after",
    }  # fmt: skip
    assert not names & NEITHER
    assert names >= RESPONSE


def test_order_duplicates_and_odd_octets_stay_as_they_came() -> None:
    headers = ((b"mcp-b", b"\xff\t"), (b"accept", b""), (b"mcp-a", b"1"), (b"accept", b"x"))
    assert passed_request(headers) == headers


def test_names_are_matched_in_lower_case_alone() -> None:
    """The HTTP room hands them over so; anything else did not come from it."""
    assert passed_request(((b"Accept", b"x"), (b"MCP-Name", b"x"))) == ()


def test_a_body_where_none_belongs_is_refused_and_not_quoted() -> None:
    check_bodiless(Request(b"DELETE", b"/", ()))
    with pytest.raises(Refused) as caught:
        check_bodiless(Request(b"DELETE", b"/", (), b"secret"))
    assert (caught.value.reason, caught.value.detail) == (Reason.BODY_UNEXPECTED, "DELETE, 6 bytes")
