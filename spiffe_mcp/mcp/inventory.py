"""What the ingress itself asks an upstream, to learn its live tools in either era: values in, messages out.

The order in which to ask: `discover_request`; if that fails, `initialize_request`, then
`initialized_notification` in the session the upstream opened; then `list_tools_request` page by page.
Session IDs are HTTP headers and belong to whoever sends.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import orjson

from spiffe_mcp import __version__
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import headers as mcp_headers
from spiffe_mcp.mcp.answer_filter import EVENT_STREAM, media_type
from spiffe_mcp.mcp.answers import UNSUPPORTED_PROTOCOL_VERSION
from spiffe_mcp.mcp.era import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LEGACY_VERSIONS,
    META,
    MODERN_VERSIONS,
    VERSION_KEY,
    Era,
    Revision,
    VersionRefused,
)
from spiffe_mcp.mcp.message import MessageId, Response, parse
from spiffe_mcp.mcp.sse import SseDecoder
from spiffe_mcp.strict_json import MAX_BYTES, JsonObject, JsonValue

CLIENT_INFO: Final = {"name": "spiffe-mcp", "version": __version__}

_HEADERS: Final = (
    (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json"),
)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One POST: the body, and the headers that go with it."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Upstream:
    """What an upstream says of itself: the `revision` to speak to it, and whether it has tools to list."""

    revision: Revision
    has_tools: bool


def discover_request(message_id: MessageId, version: str = MODERN_VERSIONS[0]) -> OutgoingMessage:
    """`server/discover` (2026-07-28 server/discover)."""
    return _modern(version, message_id, "server/discover", {})


def initialize_request(message_id: MessageId, version: str = LEGACY_VERSIONS[0]) -> OutgoingMessage:
    """`initialize` (2025-11-25 basic/lifecycle): no capability is offered, so none can be used."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT_INFO}
    body = {"jsonrpc": "2.0", "id": message_id, "method": "initialize", "params": params}
    return OutgoingMessage(_HEADERS, orjson.dumps(body))


def initialized_notification(version: str) -> OutgoingMessage:
    """`notifications/initialized`, which ends the handshake that agreed on `version`."""
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    return OutgoingMessage(_versioned(version), orjson.dumps(body))


def list_tools_request(
    revision: Revision, message_id: MessageId, cursor: str | None = None
) -> OutgoingMessage:
    """`tools/list` for one page; `cursor` is the one that the page before gave, None for the first."""
    if revision.version is None:
        raise Refused(Reason.MCP_VERSION_UNSUPPORTED, "still negotiating")
    params: dict[str, object] = {} if cursor is None else {"cursor": cursor}
    if revision.era is Era.MODERN:
        return _modern(revision.version, message_id, "tools/list", params)
    body: dict[str, object] = {"jsonrpc": "2.0", "id": message_id, "method": "tools/list"}
    if params:
        body["params"] = params
    return OutgoingMessage(_versioned(revision.version), orjson.dumps(body))


def read_result(
    body: bytes, content_type: str, message_id: MessageId, *, max_bytes: int = MAX_BYTES
) -> JsonObject:
    """The result in a whole answer, of either form, to our own request.

    Raises `Refused`: `MCP_ANSWER_TYPE`, `MCP_ANSWER_MISSING`, `MCP_ANSWER_MALFORMED`, `SSE_*`, and
    `MCP_ANSWER_ERROR`, a `VersionRefused` where the upstream says which versions it speaks.
    """
    for message in _messages(body, content_type, max_bytes):
        if isinstance(message, Response) and message.id in {message_id, None}:
            if message.result is None:
                raise _refusal(message.error or {})
            return message.result
    raise Refused(Reason.MCP_ANSWER_MISSING)


def newest_shared(offered: Collection[JsonValue]) -> str | None:
    """The newest modern version that is offered, of those that we speak; None if there is none."""
    return next((version for version in MODERN_VERSIONS if version in offered), None)


def parse_discover_result(result: JsonObject) -> Upstream:
    """The newest modern revision the upstream offers; raises `Refused`: `MCP_VERSION_UNSUPPORTED`."""
    offered = result.get("supportedVersions")
    versions = offered if isinstance(offered, list) else []
    if (version := newest_shared(versions)) is None:
        raise Refused(Reason.MCP_VERSION_UNSUPPORTED, "server/discover offers no version in common")
    return Upstream(Revision(Era.MODERN, version), _has_tools(result))


def parse_initialize_result(result: JsonObject) -> Upstream:
    """The legacy revision the upstream settled on; raises `Refused`: `MCP_VERSION_UNSUPPORTED`."""
    version = result.get("protocolVersion")
    if not isinstance(version, str) or version not in LEGACY_VERSIONS:
        raise Refused(Reason.MCP_VERSION_UNSUPPORTED, "initialize settled on no version in common")
    return Upstream(Revision(Era.LEGACY, version), _has_tools(result))


def _messages(body: bytes, content_type: str, max_bytes: int) -> list[object]:
    if media_type(content_type) == EVENT_STREAM:
        documents = [event.data for event in SseDecoder(max_bytes).feed(body) if event.data]
    else:
        documents = [body]
    try:
        return [parse(document, max_bytes=max_bytes) for document in documents]
    except Refused as refused:
        raise Refused(Reason.MCP_ANSWER_MALFORMED, str(refused)) from refused


def _refusal(error: JsonObject) -> Refused:
    """What an error in place of a result says: that, and of a version which others there are."""
    code, data = error.get("code"), error.get("data")
    detail = f"code {code}" if isinstance(code, int) else ""
    supported = data.get("supported") if isinstance(data, dict) else None
    if code == UNSUPPORTED_PROTOCOL_VERSION and isinstance(supported, list):
        spoken = [version for version in supported if isinstance(version, str)]
        return VersionRefused(Reason.MCP_ANSWER_ERROR, detail, spoken)
    return Refused(Reason.MCP_ANSWER_ERROR, detail)


def _has_tools(result: JsonObject) -> bool:
    capabilities = result.get("capabilities")
    return isinstance(capabilities, dict) and isinstance(capabilities.get("tools"), dict)


def _modern(version: str, message_id: MessageId, method: str, params: dict[str, object]) -> OutgoingMessage:
    meta = {VERSION_KEY: version, CAPABILITIES_KEY: {}, CLIENT_INFO_KEY: CLIENT_INFO}
    body = {"jsonrpc": "2.0", "id": message_id, "method": method, "params": {**params, META: meta}}
    headers = (*_versioned(version), (mcp_headers.METHOD, method.encode()))
    return OutgoingMessage(headers, orjson.dumps(body))


def _versioned(version: str) -> tuple[tuple[bytes, bytes], ...]:
    return (*_HEADERS, (mcp_headers.VERSION, version.encode()))
