"""Reading a request, the same on both sides of a hop: what is no MCP message in strict JSON gets no further.

Enters: a whole HTTP request. Leaves: what it asks for. Who sent it and whether it may be made is decided
elsewhere. Pure.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import (
    LEGACY_VERSIONS,
    SUPPORTED_VERSIONS,
    Call,
    MessageId,
    Response,
    has_sessions,
    parse,
    read_call,
    read_response,
    subscriptions,
)
from spiffe_mcp.mesh import headers


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """A client's response to what a legacy server asked of it, POSTed in its session."""

    response: Response

    @property
    def id(self) -> MessageId:
        """Of the question that it answers; one without was refused (`mcp.read_response`)."""
        if self.response.id is None:
            raise Refused(Reason.MCP_RESPONSE_UNEXPECTED)
        return self.response.id


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """DELETE, which ends a legacy session."""


@dataclass(frozen=True, slots=True)
class Listening:
    """GET, which opens a stream of a legacy session; `after`: the event after which it goes on, if one is."""

    after: bytes | None


Asked: TypeAlias = Call | ClientAnswer | Listening | SessionEnd


def lasts(asked: Asked) -> bool:
    """Whether its answer is a stream that stays open while nothing happens."""
    return isinstance(asked, Listening) or (isinstance(asked, Call) and asked.action == subscriptions.METHOD)


class NotAllowed(Refused):
    """A method that this endpoint does not have; `allow` are those that it has (RFC 9110 section 10.2.1)."""

    def __init__(self, method: bytes, allow: bytes) -> None:
        super().__init__(Reason.HTTP_METHOD, method.decode("ascii"))
        self.allow = allow


def check_method(request: Request, supported: Collection[str] = SUPPORTED_VERSIONS) -> None:
    """Return for POST, which carries a message, and GET and DELETE in a session; raises `NotAllowed`.

    A GET without a session finds no stream here: 405 is what clients take that for (2025-11-25
    basic/transports "Listening for Messages from the Server"). `supported`: the versions that are spoken.
    """
    legacy = any(version in supported for version in LEGACY_VERSIONS)
    allowed = (b"POST", b"GET", b"DELETE") if legacy else (b"POST",)
    if request.method not in allowed:
        raise NotAllowed(request.method, b", ".join(allowed))
    if request.method == b"GET" and not _in_session(request, supported):
        raise NotAllowed(request.method, b"POST, DELETE")


def read_body(request: Request, supported: Collection[str] = SUPPORTED_VERSIONS) -> Asked:
    """What `request`, of a checked method, asks for; raises `Refused`, each rule with its own reason."""
    # A DELETE has nothing to parse, so it must have nothing that could be forwarded unread either.
    if request.method == b"DELETE":
        headers.check_bodiless(request)
        return SessionEnd()
    if request.method == b"GET":
        headers.check_bodiless(request)
        return Listening(_last_event(request))
    headers.check_json(request)
    message = parse(request.body)
    if isinstance(message, Response):
        read_response(message, request.headers, supported)
        if not _in_session(request, supported):
            raise Refused(Reason.MCP_RESPONSE_UNEXPECTED, "no session")
        return ClientAnswer(message)
    return read_call(message, request.headers, supported)


def _in_session(request: Request, supported: Collection[str]) -> bool:
    named = bool(values(request.headers, headers.SESSION_ID))
    return named and has_sessions(request.headers, supported)


def _last_event(request: Request) -> bytes | None:
    found = values(request.headers, headers.LAST_EVENT_ID)
    if len(found) > 1:
        raise Refused(Reason.MCP_HEADER_DUPLICATE, "Last-Event-ID")
    return found[0] if found else None
