"""The one request that a link is for.

Enters: how a request will be sent (egress), how it arrived (ingress), or what a verified link says. Leaves: a
value that two of them can be compared by. A link that is bound cannot be lifted onto another request, another
tool or another body. Pure; knows no HTTP library and no JSON-RPC.
"""

from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.context import base64url
from spiffe_mcp.context.claims import Claims, check_sha256, check_text, malformed
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject

MAX_URI_BYTES: Final = 2048
MAX_MCP_NAME_BYTES: Final = 2048  # the name of a resource is its URI

BINDING_CLAIMS: Final = ("htm", "htu", "bh", "mcp")


@dataclass(frozen=True, slots=True)
class RequestBinding:
    """What tells one request from every other.

    Method and target URI without query, as `htm` and `htu` of DPoP (RFC 9449 section 4.2); SHA-256 of the
    body; and what the body asks of the MCP server: its method and the name of the tool, prompt or resource.
    A request that carries no JSON-RPC method (a stream opened with GET, a response sent back) has neither.
    URIs are compared octet by octet: both sides have to build theirs alike (`mesh.hop_binding`).
    """

    method: str
    uri: str
    body_sha256: bytes
    mcp_method: str | None = None
    mcp_name: str | None = None

    def __post_init__(self) -> None:
        check_text("htm", self.method)
        check_text("htu", self.uri, max_bytes=MAX_URI_BYTES)
        if not self.uri.isascii() or any(mark in self.uri for mark in " ?#"):
            malformed("htu", "a URI without query and fragment")
        check_sha256("bh", self.body_sha256)
        if self.mcp_method is not None:
            check_text("mcp.method", self.mcp_method)
        elif self.mcp_name is not None:
            malformed("mcp.name", "only beside a method")
        if self.mcp_name is not None:
            check_text("mcp.name", self.mcp_name, max_bytes=MAX_MCP_NAME_BYTES)

    @classmethod
    def from_claims(cls, claims: Claims) -> Self:
        """The request of a link's claims; raises `Refused` with the `CONTEXT_CLAIM_*` reason of the rule."""
        mcp = claims.object("mcp").refuse_others_than(("method", "name"))
        return cls(
            method=claims.text("htm"),
            uri=claims.text("htu"),
            body_sha256=claims.sha256("bh"),
            mcp_method=mcp.optional_text("method"),
            mcp_name=mcp.optional_text("name"),
        )

    def to_claims(self) -> JsonObject:
        """The claims `BINDING_CLAIMS`."""
        named = {"method": self.mcp_method, "name": self.mcp_name}
        return {
            "htm": self.method,
            "htu": self.uri,
            "bh": base64url.encode(self.body_sha256).decode(),
            "mcp": {name: value for name, value in named.items() if value is not None},
        }

    def check(self, request: Self) -> None:
        """Return if `request` is the one bound here; raises `Refused(CONTEXT_BINDING_*)`."""
        if request.method != self.method:
            raise Refused(Reason.CONTEXT_BINDING_METHOD)
        if request.uri != self.uri:
            raise Refused(Reason.CONTEXT_BINDING_URI)
        if request.body_sha256 != self.body_sha256:
            raise Refused(Reason.CONTEXT_BINDING_BODY)
        if (request.mcp_method, request.mcp_name) != (self.mcp_method, self.mcp_name):
            raise Refused(Reason.CONTEXT_BINDING_MCP)
