"""Both ends of a hop describe a request alike, and no two requests are described alike."""

from dataclasses import replace
from hashlib import sha256

import pytest

from spiffe_mcp.context import RequestBinding
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mcp import Call, parse, read_call
from spiffe_mcp.mesh.hop_binding import hop_binding
from spiffe_mcp.mesh.reading import SessionEnd

BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}'
REQUEST = Request(b"POST", b"/weather/mcp", ((b"host", b"node:8443"),), BODY)
CALL = read_call(parse(BODY), ())


def test_a_call_is_bound_by_everything_that_tells_it_from_others() -> None:
    assert hop_binding(REQUEST, CALL) == RequestBinding(
        method="POST",
        uri="https://node:8443/weather/mcp",
        body_sha256=sha256(BODY).digest(),
        mcp_method="tools/call",
        mcp_name="add",
    )


def test_what_carries_no_message_is_bound_without_one() -> None:
    binding = hop_binding(Request(b"DELETE", b"/weather/mcp", REQUEST.headers), SessionEnd())
    assert (binding.method, binding.mcp_method, binding.mcp_name) == ("DELETE", None, None)
    assert binding.body_sha256 == sha256(b"").digest()


def test_the_query_is_no_part_of_it() -> None:
    """RFC 9449 section 4.2; and nothing of a query goes on."""
    assert hop_binding(replace(REQUEST, target=b"/weather/mcp?a=1"), CALL) == hop_binding(REQUEST, CALL)


@pytest.mark.parametrize("hosts", [(), (b"a", b"a")], ids=["none", "two"])
def test_without_exactly_one_host_there_is_no_uri(hosts: tuple[bytes, ...]) -> None:
    headers = tuple((b"host", host) for host in hosts)
    assert refusal(replace(REQUEST, headers=headers)).reason is Reason.HTTP_HOST


def refusal(request: Request, call: Call = CALL) -> Refused:
    with pytest.raises(Refused) as caught:
        hop_binding(request, call)
    return caught.value


@pytest.mark.parametrize("host", [b"n\xf6de", b"a b", b"a?b", b"a#b", b"x" * 2048, b"a\x00"])
def test_a_host_that_makes_no_uri_is_refused(host: bytes) -> None:
    assert refusal(replace(REQUEST, headers=((b"host", host),))).reason is Reason.REQUEST_UNBINDABLE


@pytest.mark.parametrize(
    "name", ["x" * 2049, "\\u2603" * 683, "a\\nb", "\\u0000", "\\u202e", "\\u2028", "\\u00a0"]
)
def test_a_name_that_no_link_can_say_is_refused_without_being_quoted(name: str) -> None:
    """Too long, or able to make a log say something else; the request is to blame, not a context."""
    body = BODY.replace(b"add", name.encode())
    refused = refusal(replace(REQUEST, body=body), read_call(parse(body), ()))
    assert refused.reason is Reason.REQUEST_UNBINDABLE
    assert refused.detail == "mcp.name: printable text of 1 to 2048 bytes"
