"""What of an HTTP message crosses the mesh: a list of headers that pass, so that nothing else can.

Identity is never among them. What a workload or a peer says of itself or of others (`Authorization`,
`Forwarded`, `X-Forwarded-*`, `X-Forwarded-Client-Cert`, `l5d-client-id`, `Mesh-*` in any spelling) is not
stripped by name; it is simply not on the list. Encodings are not either: what is filtered must be readable,
so nobody is asked for a compressed answer. Pure.
"""

import re
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Request
from spiffe_mcp.http.messages import values

USER_CONTEXT: Final = b"mesh-user-context"
SESSION_ID: Final = b"mcp-session-id"
LAST_EVENT_ID: Final = b"last-event-id"
BRIDGE_REFUSED: Final = b"mesh-bridge-refused"  # by a bridge, to its ingress alone: it crosses no mesh

# What stands over a message of the agent's own.
POSTED: Final = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))

_MCP: Final = b"mcp-"  # of an answer: MCP-Protocol-Version, Mcp-Session-Id
_MCP_PARAM: Final = b"mcp-param-"  # whatever parameter a tool's schema mirrors there
_REQUEST: Final = frozenset(
    {
        b"accept",
        b"accept-language",
        b"content-type",
        # By name, not by prefix: to a server of the CGI family (RFC 3875 section 4.1.18) `Mcp-Session_Id` is
        # another spelling of the header whose owner was checked.
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"traceparent",
        b"tracestate",
        b"user-agent",
    }
)
# RFC 8259 section 11 defines no parameter; clients send this one.
_JSON: Final = re.compile(rb'application/json[ \t]*(;[ \t]*charset=("utf-8"|utf-8)[ \t]*)?', re.IGNORECASE)
_RESPONSE: Final = frozenset({b"cache-control", b"content-type", b"retry-after"})


def forwarded(request: Request, host: bytes, path: bytes) -> Request:
    """`request` as it goes on to `path` at `host`: that Host, listed headers, the same body."""
    passed = passed_request(request.headers)
    if request.method == b"GET":  # a POST with it means nothing, and some server might think that it does
        passed += tuple(pair for pair in request.headers if pair[0] == LAST_EVENT_ID)
    return Request(request.method, path, ((b"host", host), *passed), request.body)


def passed_request(headers: Headers) -> Headers:
    """The headers of a request that go on."""
    return tuple([pair for pair in headers if pair[0] in _REQUEST or pair[0].startswith(_MCP_PARAM)])


def check_json(request: Request) -> None:
    """Return if `request` says that its body is JSON in UTF-8; raises `Refused(CONTENT_TYPE)`.

    Some servers read the body as its Content-Type says. `charset=utf-7` makes another text of the same bytes
    (`+ACI-` ends a string), and so another call than the one that was authorised.
    """
    kinds = values(request.headers, b"content-type")
    if len(kinds) != 1 or not _JSON.fullmatch(kinds[0]):
        raise Refused(Reason.CONTENT_TYPE, ascii(b", ".join(kinds)[:80].decode("latin-1")))


def check_bodiless(request: Request) -> None:
    """Return if `request` has no body; raises `Refused(BODY_UNEXPECTED)`.

    RFC 9110 section 9.3.5: content of a DELETE has no meaning, which does not keep a server from reading it.
    """
    if request.body:
        raise Refused(Reason.BODY_UNEXPECTED, f"{request.method.decode('ascii')}, {len(request.body)} bytes")


def passed_response(headers: Headers) -> Headers:
    """The headers of a response that go back."""
    return tuple([pair for pair in headers if pair[0] in _RESPONSE or pair[0].startswith(_MCP)])
