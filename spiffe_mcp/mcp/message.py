"""One JSON-RPC message: bytes in, a request, notification or response out.

Refused is whatever two parsers could read differently.

What is authorised is the parsed message; what is forwarded is `raw`, the very bytes it was parsed from.
Keys of the envelope that nobody defined are neither refused nor dropped: JSON-RPC 2.0 is silent about them
and the bytes go on as they came.

This module knows JSON-RPC 2.0 and the envelope rules of MCP (basic/index, "Messages"). It does not know
what any method means.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from spiffe_mcp import strict_json
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.strict_json import MAX_BYTES, JsonObject, JsonValue

MAX_ID_LENGTH: Final = 1024  # characters; an ID is echoed in every error answer
MAX_SAFE_INTEGER: Final = 2**53 - 1  # RFC 7493 section 2.2: beyond, a JavaScript peer answers another ID
MAX_METHOD_LENGTH: Final = 256

MessageId: TypeAlias = str | int

_ENVELOPE: Final = ExactKeys(frozenset({"jsonrpc", "id", "method", "params", "result", "error"}))
# Every member of `params` that some method of MCP decides by.
_PARAMS: Final = ExactKeys(
    frozenset(
        {
            "_meta",
            "argument",
            "arguments",
            "capabilities",
            "clientInfo",
            "context",
            "cursor",
            "inputResponses",
            "level",
            "name",
            "notifications",
            "progress",
            "progressToken",
            "protocolVersion",
            "reason",
            "ref",
            "requestId",
            "requestState",
            "task",
            "taskId",
            "uri",
        }
    )
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: it has an ID, and whoever receives it owes one response."""

    raw: bytes
    id: MessageId
    method: str
    params: JsonObject | None

    def __post_init__(self) -> None:
        _check_id(self.id)
        _check_method(self.method)
        _PARAMS.check(self.params or ())


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification: no ID, no response."""

    raw: bytes
    method: str
    params: JsonObject | None

    def __post_init__(self) -> None:
        _check_method(self.method)
        _PARAMS.check(self.params or ())


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: exactly one of `result` and `error`. No `id`: an error about an unread request."""

    raw: bytes
    envelope: JsonObject
    id: MessageId | None
    result: JsonObject | None
    error: JsonObject | None

    def __post_init__(self) -> None:
        if (self.result is None) == (self.error is None):
            raise Refused(Reason.MCP_ENVELOPE_MALFORMED, "exactly one of result and error")
        if self.id is not None:
            _check_id(self.id)
        elif self.result is not None:
            raise Refused(Reason.MCP_ID_MALFORMED, "a result without an ID")


Message: TypeAlias = Request | Notification | Response


def parse(body: bytes, *, max_bytes: int = MAX_BYTES) -> Message:
    """The one message that `body` is (MCP basic/index "Messages"; JSON-RPC 2.0 sections 4 and 5).

    Raises `Refused`: `JSON_*` for what is not strict JSON, `MCP_BATCH`, `MCP_KEY_CASE`, `MCP_ID_MALFORMED`,
    `MCP_PARAMS_MALFORMED`, `MCP_ENVELOPE_MALFORMED`.
    """
    # 1: bytes that every parser reads alike.
    envelope = strict_json.loads(body, max_bytes=max_bytes)
    # 2: one message. Batches left MCP in 2025-06-18, and some servers still execute them.
    if isinstance(envelope, list):
        raise Refused(Reason.MCP_BATCH)
    if not isinstance(envelope, dict):
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, "not an object")
    # 3: one spelling of every key that decides.
    _ENVELOPE.check(envelope)
    if envelope.get("jsonrpc") != "2.0":
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, 'jsonrpc is not "2.0"')
    # 4: one kind of message; what is half a call and half an answer is neither.
    if "method" in envelope:
        return _call(body, envelope)
    return _response(body, envelope)


def _call(body: bytes, envelope: JsonObject) -> Request | Notification:
    if "result" in envelope or "error" in envelope:
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, "both a call and an answer")
    method = envelope["method"]
    if not isinstance(method, str):
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, "method is not a string")
    params = _object(envelope, "params", Reason.MCP_PARAMS_MALFORMED)
    if "id" in envelope:
        return Request(body, _id(envelope["id"]), method, params)
    return Notification(body, method, params)


def _response(body: bytes, envelope: JsonObject) -> Response:
    if "params" in envelope:
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, "an answer with params")
    result = _object(envelope, "result", Reason.MCP_ENVELOPE_MALFORMED)
    error = _object(envelope, "error", Reason.MCP_ENVELOPE_MALFORMED)
    # JSON-RPC 2.0 section 5: null when the ID of the request could not be read; MCP lets it be absent.
    identifier = envelope.get("id")
    return Response(body, envelope, None if identifier is None else _id(identifier), result, error)


def _object(envelope: JsonObject, key: str, reason: Reason) -> JsonObject | None:
    """The object under `key`, or None if the key is absent; null is not absence."""
    if key not in envelope:
        return None
    value = envelope[key]
    if not isinstance(value, dict):
        raise Refused(reason, f"{key} is not an object")
    return value


def _id(value: JsonValue) -> MessageId:
    # A float or a boolean compares equal to an integer in more languages than one.
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refused(Reason.MCP_ID_MALFORMED, "neither a string nor an integer")
    return value


def _check_id(value: MessageId) -> None:
    if isinstance(value, str):
        if len(value) > MAX_ID_LENGTH:
            raise Refused(Reason.MCP_ID_MALFORMED, f"{len(value)} characters, at most {MAX_ID_LENGTH}")
    elif not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        raise Refused(Reason.MCP_ID_MALFORMED, "an integer that a double cannot hold")


def _check_method(method: str) -> None:
    if not 0 < len(method) <= MAX_METHOD_LENGTH:
        raise Refused(Reason.MCP_ENVELOPE_MALFORMED, f"a method of {len(method)} characters")
