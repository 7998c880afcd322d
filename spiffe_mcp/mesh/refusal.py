"""What a refused caller is answered, and under which JSON-RPC ID. Pure.

One rule matters more than the rest: a tool that is unsigned, changed, hidden by policy or nonexistent is
answered with the same bytes, so that the answer does not tell which of these it is.
"""

from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request, ResponseHead
from spiffe_mcp.mcp import Answer, Era, MessageId, answer_for, parse, presumed_era, unknown_tool
from spiffe_mcp.mcp import Request as McpRequest
from spiffe_mcp.mesh.granted import Hidden, ListeningRefused, PolicyRefused
from spiffe_mcp.mesh.reading import NotAllowed
from spiffe_mcp.mesh.relay import Unanswered
from spiffe_mcp.policy import Visibility

_NOT_THERE: Final = frozenset(
    {
        Reason.MANIFEST_TOOL_UNSIGNED,
        Reason.MANIFEST_TOOL_CHANGED,
        Reason.MANIFEST_TOOL_DUPLICATE,
        Reason.MCP_TOOL_UNKNOWN,
    }
)
_JSON: Final = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who waits for an answer: the ID of a request, if it had one that could be read, and its era."""

    id: MessageId | None
    era: Era
    tool: str | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """As far as the request itself tells, refused as it is; never refuses."""
        try:
            message = parse(request.body)
        except Refused:
            return cls(None, Era.MODERN)
        era = presumed_era(message)
        if not isinstance(message, McpRequest):
            return cls(None, era)
        name = (message.params or {}).get("name") if message.method == "tools/call" else None
        return cls(message.id, era, name if isinstance(name, str) else None)


async def answer_refused(refused: Refused, request: Request, reply: Reply) -> None:
    """Tell the caller: as a response, or as the last event of a stream in which it still waits for an answer.

    What has begun otherwise is cut, so that nobody takes a part for the whole.
    """
    head, body = answer(refused, Addressee.of(request))
    if not reply.started:
        await reply.send(head, body)
    elif isinstance(refused, Unanswered):
        await reply.write(b"event: message\ndata: %s\n\n" % body)
        reply.finish()
    else:
        reply.cut()


def answer(refused: Refused, addressee: Addressee) -> tuple[ResponseHead, bytes]:
    """The response for a caller that was refused; what it may read, and no more."""
    if isinstance(refused, ListeningRefused):
        # "or else return HTTP 405 Method Not Allowed" (2025-11-25 basic/transports): clients go on without.
        return answer(NotAllowed(b"GET", b"POST, DELETE"), addressee)
    said = _answer(refused, addressee)
    allow = ((b"allow", refused.allow),) if isinstance(refused, NotAllowed) else ()
    return ResponseHead(said.status, (*_JSON, *allow)), said.body


def _answer(refused: Refused, addressee: Addressee) -> Answer:
    message = None
    hidden = refused.reason in _NOT_THERE or isinstance(refused, Hidden)
    if isinstance(refused, PolicyRefused):
        hidden = refused.decision.visibility is Visibility.HIDDEN
        message = None if hidden else refused.decision.message or None
    if hidden and addressee.tool is not None:
        return unknown_tool(addressee.tool, addressee.id)
    return answer_for(refused, addressee.id, addressee.era, message=message)
