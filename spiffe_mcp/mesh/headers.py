"""What of an HTTP message crosses the mesh: a list of headers that pass, so that nothing else can.

Identity is never among them. What a workload or a peer says of itself or of others (`Authorization`,
`Forwarded`, `X-Forwarded-*`, `X-Forwarded-Client-Cert`, `l5d-client-id`, `Mesh-*` in any spelling) is not
stripped by name; it is simply not on the list. Encodings are not either: what is filtered must be readable,
so nobody is asked for a compressed answer. Pure.
"""

from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Request

USER_CONTEXT: Final = b"mesh-user-context"
SESSION_ID: Final = b"mcp-session-id"

_MCP: Final = b"mcp-"  # MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Mcp-Param-*
_REQUEST: Final = frozenset(
    {b"accept", b"accept-language", b"content-type", b"traceparent", b"tracestate", b"user-agent"}
)
_RESPONSE: Final = frozenset({b"cache-control", b"content-type", b"retry-after"})


def passed_request(headers: Headers) -> Headers:
    """The headers of a request that go on."""
    return tuple(pair for pair in headers if pair[0] in _REQUEST or pair[0].startswith(_MCP))


def check_bodiless(request: Request) -> None:
    """Return if `request` has no body; raises `Refused(BODY_UNEXPECTED)`.

    RFC 9110 section 9.3.5: content of a DELETE has no meaning, which does not keep a server from reading it.
    """
    if request.body:
        raise Refused(Reason.BODY_UNEXPECTED, f"{request.method.decode('ascii')}, {len(request.body)} bytes")


def passed_response(headers: Headers) -> Headers:
    """The headers of a response that go back."""
    return tuple(pair for pair in headers if pair[0] in _RESPONSE or pair[0].startswith(_MCP))
