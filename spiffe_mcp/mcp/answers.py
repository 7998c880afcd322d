"""What a refused caller gets: a refusal in, an HTTP status and a JSON-RPC error out.

The one place where a reason becomes a JSON-RPC code. The caller learns its own mistake and at most a
reason's code; `detail` stays with the audit record. Some reasons are exceptions, because their detail is
the caller's own word: the tool it named (`MCP_TOOL_UNKNOWN`) and the version it asked for
(`VersionRefused`).

A tool that is hidden, unsigned, changed or nonexistent is answered by `unknown_tool`: the same bytes for
all, so that nobody can tell which of these it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.era import Era, VersionRefused
from spiffe_mcp.mcp.message import MessageId

# JSON-RPC 2.0 section 5.1.
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
# MCP 2026-07-28, schema.ts.
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022
# Our own, outside -32768..-32000, which is reserved (JSON-RPC 2.0 section 5.1).
REFUSED_BY_POLICY: Final = 403001
REFUSED_IDENTITY: Final = 403002
LIMIT_REACHED: Final = 429001
UNAVAILABLE: Final = 503001


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON-RPC error that is its body (`Content-Type: application/json`)."""

    status: HTTPStatus
    body: bytes


@dataclass(frozen=True, slots=True)
class _Error:
    code: int
    message: str


_BY_REASON: Final[Mapping[Reason, _Error]] = {
    Reason.JSON_MALFORMED: _Error(PARSE_ERROR, "Parse error"),
    Reason.JSON_NOT_UTF8: _Error(PARSE_ERROR, "Parse error"),
    Reason.MCP_PARAMS_MALFORMED: _Error(INVALID_PARAMS, "Invalid params"),
    Reason.MCP_META_MISSING: _Error(INVALID_PARAMS, "Invalid params: a required _meta key is missing"),
    Reason.MCP_META_MALFORMED: _Error(INVALID_PARAMS, "Invalid params: _meta"),
    Reason.MCP_HEADER_DUPLICATE: _Error(HEADER_MISMATCH, "Header mismatch: a header appears more than once"),
    Reason.MCP_HEADER_MISSING: _Error(HEADER_MISMATCH, "Header mismatch: a required header is missing"),
    Reason.MCP_HEADER_MALFORMED: _Error(HEADER_MISMATCH, "Header mismatch: a header cannot be decoded"),
    Reason.MCP_HEADER_MISMATCH: _Error(HEADER_MISMATCH, "Header mismatch: a header differs from the body"),
    Reason.MCP_VERSION_MISMATCH: _Error(HEADER_MISMATCH, "Header mismatch: the protocol versions differ"),
    Reason.MCP_VERSION_UNSUPPORTED: _Error(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version"),
    Reason.MCP_ERA_BELOW_MINIMUM: _Error(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version"),
    Reason.MCP_PARAM_HEADER_MISMATCH: _Error(
        HEADER_MISMATCH, "Header mismatch: an Mcp-Param header differs from the arguments"
    ),
    Reason.MCP_METHOD_UNKNOWN: _Error(METHOD_NOT_FOUND, "Method not found"),
    Reason.MCP_TOOL_UNKNOWN: _Error(INVALID_PARAMS, "Unknown tool"),
    # Of both eras: "Invalid or nonexistent taskId" (tasks, "Protocol Errors").
    Reason.MCP_TASK_UNKNOWN: _Error(INVALID_PARAMS, "Unknown task"),
    Reason.MANIFEST_ARGUMENTS_INVALID: _Error(
        INVALID_PARAMS, "Invalid params: the arguments break the tool's schema"
    ),
}

_BY_STATUS: Final[Mapping[HTTPStatus, _Error]] = {
    HTTPStatus.OK: _Error(REFUSED_BY_POLICY, "Refused by policy"),
    HTTPStatus.FORBIDDEN: _Error(REFUSED_IDENTITY, "Forbidden"),
    HTTPStatus.NOT_FOUND: _Error(INVALID_REQUEST, "Not found"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _Error(INVALID_REQUEST, "Request too large"),
    HTTPStatus.TOO_MANY_REQUESTS: _Error(LIMIT_REACHED, "Limit reached"),
    HTTPStatus.SERVICE_UNAVAILABLE: _Error(UNAVAILABLE, "Service unavailable"),
}


def answer_for(
    refused: Refused,
    message_id: MessageId | None,
    era: Era,
    *,
    message: str | None = None,
) -> Answer:
    """The answer to a call that was refused.

    `message_id` is the call's ID, None if it has none or could not be read. `message` is what the publisher
    or the policy wants the caller to read instead of the plain words.
    """
    reason = refused.reason
    if reason is Reason.MCP_TOOL_UNKNOWN:
        return unknown_tool(refused.detail, message_id)
    error = _BY_REASON.get(reason) or _by_status(reason.status)
    data: dict[str, object] | None = {"reason": reason.code}
    if isinstance(refused, VersionRefused):
        data = {"supported": list(refused.supported), "requested": refused.detail}
    elif error.code == INTERNAL_ERROR:
        data = None  # nothing of what went wrong inside or upstream
    return _answer(_status(reason, era), message_id, error.code, message or error.message, data)


def unknown_tool(name: str, message_id: MessageId | None) -> Answer:
    """The answer for every tool that does not exist for this caller (MCP server/tools "Error Handling")."""
    return _answer(HTTPStatus.OK, message_id, INVALID_PARAMS, f"Unknown tool: {name}", None)


def declined(message_id: MessageId, *, by_policy: bool) -> bytes:
    """What a server is told whose request does not reach its client; no more than a client would say.

    A client that does not take such requests does not know the method (2025-11-25 client/sampling "Error
    Handling", client/roots).
    """
    code, message = (
        (REFUSED_BY_POLICY, "Refused by policy") if by_policy else (METHOD_NOT_FOUND, "Method not found")
    )
    return _answer(HTTPStatus.OK, message_id, code, message, None).body


def _by_status(status: HTTPStatus) -> _Error:
    default = (
        _Error(INTERNAL_ERROR, "Internal error")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else _Error(INVALID_REQUEST, "Invalid request")
    )
    return _BY_STATUS.get(status, default)


def _status(reason: Reason, era: Era) -> HTTPStatus:
    # 2026-07-28 streamable-http: an unknown method is 404; before, an error is a response like any other.
    if reason is Reason.MCP_METHOD_UNKNOWN and era is Era.LEGACY:
        return HTTPStatus.OK
    return reason.status


def _answer(
    status: HTTPStatus, message_id: MessageId | None, code: int, message: str, data: dict[str, object] | None
) -> Answer:
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    # Streamable HTTP: input that has no ID cannot be answered, only rejected, and that takes an error status.
    if message_id is None and status == HTTPStatus.OK:
        status = HTTPStatus.BAD_REQUEST
    return Answer(status, orjson.dumps({"jsonrpc": "2.0", "id": message_id, "error": error}))
