"""Reading a request, the same on both sides of a hop: what is no MCP message in strict JSON gets no further.

Enters: a whole HTTP request. Leaves: the `Call` that it is, or None for DELETE, which ends a legacy session.
Who sent it and whether it may be made is decided elsewhere. Pure.
"""

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mcp import Call, parse, read_call
from spiffe_mcp.mesh import headers


def check_method(request: Request) -> None:
    """Return for POST, which carries a message, and DELETE; raises `Refused(HTTP_METHOD)`.

    GET would replay answers past the filter.
    """
    if request.method not in (b"POST", b"DELETE"):
        raise Refused(Reason.HTTP_METHOD, request.method.decode("ascii"))


def read_body(request: Request) -> Call | None:
    """What `request`, of a checked method, asks for; raises `Refused`, each rule with its own reason."""
    # A DELETE has nothing to parse, so it must have nothing that could be forwarded unread either.
    if request.method == b"DELETE":
        headers.check_bodiless(request)
        return None
    headers.check_json(request)
    return read_call(parse(request.body), request.headers)
