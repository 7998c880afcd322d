"""A request as both ends of a hop describe it, so that a link signed for one can hold for no other."""

from hashlib import sha256

from spiffe_mcp.context import RequestBinding
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import Call
from spiffe_mcp.mesh.reading import Asked


def hop_binding(request: Request, asked: Asked) -> RequestBinding:
    """The binding of `request`, as it goes over the hop; raises `Refused`: HTTP_HOST, REQUEST_UNBINDABLE.

    `htu` is the target URI without query (RFC 9449 section 4.2). The authority in it is the Host that egress
    writes. It names nobody: the audience does, by SPIFFE ID.
    """
    hosts = values(request.headers, b"host")
    if len(hosts) != 1:
        raise Refused(Reason.HTTP_HOST, "exactly one Host is needed")
    try:
        return RequestBinding(
            method=request.method.decode("ascii"),
            uri=f"https://{hosts[0].decode('latin-1')}{request.path.decode('latin-1')}",
            body_sha256=sha256(request.body).digest(),
            mcp_method=asked.action if isinstance(asked, Call) else None,
            mcp_name=asked.name if isinstance(asked, Call) else None,
        )
    except Refused as refused:
        # A name that no link can say. The request's fault, not that of a context nobody has looked at yet.
        raise Refused(Reason.REQUEST_UNBINDABLE, refused.detail) from None
