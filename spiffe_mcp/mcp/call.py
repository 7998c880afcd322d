"""What a client asks for, as everything above sees it: a message and its headers in, one `Call` out.

A `Call` is the only form in which a client's message reaches policy, manifest and audit. Whoever holds one
knows that body and headers agree, that its method is on the allow-list of its era, and what it acts upon.
"""

from collections.abc import Collection
from dataclasses import dataclass

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import era as eras
from spiffe_mcp.mcp.era import SUPPORTED_VERSIONS, Era, Revision
from spiffe_mcp.mcp.headers import Headers, compare_mirrors, mirror_headers, require_mirrors
from spiffe_mcp.mcp.message import Message, MessageId, Notification, Request, Response
from spiffe_mcp.mcp.methods import Kind, Subject, subject_of_notification, subject_of_request
from spiffe_mcp.strict_json import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class Call:
    """One message of a client: `raw` is what may be forwarded, everything else is what it says."""

    message: Request | Notification
    revision: Revision
    subject: Subject

    @property
    def era(self) -> Era:
        """Which family of revisions the call belongs to."""
        return self.revision.era

    @property
    def action(self) -> str:
        """The method."""
        return self.message.method

    @property
    def kind(self) -> Kind:
        """What sort of thing the call acts upon."""
        return self.subject.kind

    @property
    def name(self) -> str | None:
        """The name of the tool or prompt, or the URI of the resource."""
        return self.subject.name

    @property
    def arguments(self) -> JsonObject | None:
        """The arguments of a tool or prompt; None if the call has none."""
        return self.subject.arguments

    @property
    def capabilities(self) -> JsonObject:
        """What the client declares with this message: in `_meta` (2026-07-28), or once, at `initialize`."""
        params = self.message.params or {}
        if self.era is Era.MODERN:
            meta = params.get(eras.META)
            return _object(meta.get(eras.CAPABILITIES_KEY)) if isinstance(meta, dict) else {}
        return _object(params.get("capabilities")) if self.action == "initialize" else {}

    @property
    def id(self) -> MessageId | None:
        """The ID that an answer echoes; None for a notification, which gets none."""
        return self.message.id if isinstance(self.message, Request) else None

    @property
    def raw(self) -> bytes:
        """The bytes that were authorised, and the only ones to forward."""
        return self.message.raw


def read_call(message: Message, headers: Headers, supported: Collection[str] = SUPPORTED_VERSIONS) -> Call:
    """The call that `message` and its HTTP headers make together; raises `Refused` with each rule's reason.

    `supported` are the protocol versions that this route speaks.
    """
    # 1: a response is no call; who may send one is decided by `read_response`.
    if isinstance(message, Response):
        raise Refused(Reason.MCP_RESPONSE_UNEXPECTED)
    # 2: no header twice.
    mirrors = mirror_headers(headers)
    # 3: one revision, on which body and header agree.
    revision = eras.decide(message, mirrors, supported)
    # 4: what the headers mirror is what the body says (streamable-http "Server Validation").
    if revision.era is Era.MODERN and isinstance(message, Request):
        require_mirrors(mirrors, message)
    compare_mirrors(mirrors, message)
    # 5: the method is on the allow-list of its era, and its subject can be read.
    return classify(message, revision)


def read_response(
    response: Response, headers: Headers, supported: Collection[str] = SUPPORTED_VERSIONS
) -> None:
    """Return if a client may POST `response` at all; whether anybody waits for it is for its session to say.

    Only a legacy client may: 2026-07-28 forbids it (streamable-http "Sending Messages"). One without an ID
    answers nothing. Raises `Refused`: `MCP_RESPONSE_UNEXPECTED`, `MCP_HEADER_DUPLICATE`,
    `MCP_VERSION_UNSUPPORTED`.
    """
    if response.id is None or not has_sessions(headers, supported):
        raise Refused(Reason.MCP_RESPONSE_UNEXPECTED)


def has_sessions(headers: Headers, supported: Collection[str] = SUPPORTED_VERSIONS) -> bool:
    """Whether a request that holds no call is of a revision with sessions, by its headers.

    Raises `Refused`: `MCP_HEADER_DUPLICATE`, `MCP_VERSION_UNSUPPORTED`.
    """
    return eras.has_sessions(mirror_headers(headers), supported)


def classify(message: Request | Notification, revision: Revision) -> Call:
    """What `message` asks for in `revision`; default deny: raises `Refused(MCP_METHOD_UNKNOWN)`."""
    if isinstance(message, Request):
        subject = subject_of_request(revision.era, message.method, message.params)
    else:
        subject = subject_of_notification(revision.era, message.method)
    return Call(message, revision, subject)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
