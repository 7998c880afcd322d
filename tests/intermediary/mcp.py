"""What MCP clients send, in both eras, spelled out from the specification; no code of any proxy is used.

Every message has an ID or an argument that begins with `suite-`, so that the server can tell what the suite
sent from what a proxy asks on its own account.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from tests.intermediary.client import Client, Outgoing
from tests.intermediary.framing import Headers

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
EARLIER: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MARK: Final = "suite-"

COMMON: Final[Headers] = (
    (b"Content-Type", b"application/json"),
    (b"Accept", b"application/json, text/event-stream"),
)
# What Mcp-Name mirrors: Streamable HTTP "Standard headers", and the extension of tasks, "Routing Headers".
_NAMED: Final = {
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/cancel": "taskId",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tools/call": "name",
}
# What a result has that may be kept (2026-07-28 server/utilities/caching); here it may not.
CACHED: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
_ids = count(1)


def fresh_id() -> str:
    """An ID that no other message of this run has."""
    return f"{MARK}{next(_ids)}"


def meta(**capabilities: Any) -> dict[str, Any]:
    """The envelope of a 2026-07-28 request (basic/index "Per-request protocol fields")."""
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }


def modern(method: str, params: Mapping[str, Any] | None = None, *, message_id: Any = None) -> Outgoing:
    """A request of 2026-07-28, version and mirrors in its headers."""
    said = {"_meta": meta(), **(params or {})}
    identifier = fresh_id() if message_id is None else message_id
    body = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": said}
    mirrors = [(b"MCP-Protocol-Version", MODERN.encode()), (b"Mcp-Method", method.encode())]
    if method in _NAMED:
        mirrors.append((b"Mcp-Name", mirrored(str(said.get(_NAMED[method])))))
    return Outgoing(json.dumps(body).encode(), (*COMMON, *mirrors))


def legacy(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    message_id: Any = None,
    session: str | None = None,
    version: str = LEGACY,
) -> Outgoing:
    """A request of an earlier revision."""
    identifier = fresh_id() if message_id is None else message_id
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": identifier, "method": method}
    return _legacy(body if params is None else {**body, "params": params}, session, version)


def notification(
    method: str, params: Mapping[str, Any] | None = None, session: str | None = None
) -> Outgoing:
    """A legacy notification."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return _legacy(body if params is None else {**body, "params": params}, session, LEGACY)


def _legacy(body: Mapping[str, Any], session: str | None, version: str) -> Outgoing:
    headers = (*COMMON, (b"MCP-Protocol-Version", version.encode()))
    if session is not None:
        headers = (*headers, (b"Mcp-Session-Id", session.encode()))
    return Outgoing(json.dumps(body).encode(), headers)


def call(name: str, /, **arguments: Any) -> Outgoing:
    """A `tools/call` of 2026-07-28."""
    return modern("tools/call", {"name": name, "arguments": arguments})


def legacy_call(name: str, /, session: str | None = None, **arguments: Any) -> Outgoing:
    """A `tools/call` of 2025-11-25."""
    return legacy("tools/call", {"name": name, "arguments": arguments}, session=session)


def initialize(version: str = LEGACY) -> Outgoing:
    """What opens a legacy session."""
    info = {"name": "suite-client", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {"sampling": {}}, "clientInfo": info}
    return Outgoing(legacy("initialize", params).body, COMMON)


async def opened(client: Client) -> str:
    """A legacy session."""
    (session,) = (await client.ask(initialize())).head.values(b"mcp-session-id")
    return session.decode()


def bodiless(method: bytes, session: str | None = None, **headers: str) -> Outgoing:
    """A GET or DELETE of the legacy era."""
    pairs: Headers = ((b"Accept", b"text/event-stream"), (b"MCP-Protocol-Version", LEGACY.encode()))
    if session is not None:
        pairs = (*pairs, (b"Mcp-Session-Id", session.encode()))
    extra = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Outgoing(b"", (*pairs, *extra), method)


def mirrored(text: str) -> bytes:
    """The header value that mirrors `text` (Streamable HTTP "Value encoding")."""
    octets = text.encode()
    plain = all(0x20 <= octet < 0x7F for octet in octets) and octets == octets.strip(b" ")
    return octets if plain else sentinel(octets)


def sentinel(octets: bytes) -> bytes:
    """The base64 form of a header value."""
    return b"=?base64?" + b64encode(octets) + b"?="


def response(message: Any, result: Mapping[str, Any]) -> bytes:
    """The answer to `message`."""
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


def said(text: str) -> dict[str, Any]:
    """What a tool answers, as both eras take it."""
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False}
