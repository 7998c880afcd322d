"""What MCP clients send, in both eras, byte for byte; and two ways to send it.

    Plain(egress).ask(modern("tools/call", name="echo", text="hi"))      # as a local workload
    Hop(ingress, svid, bundles, SERVER).ask(request)                     # as a mesh agent, honest or not

Both speak any request that `spiffe_mcp.http` can write. Neither knows what the mesh should answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Headers, HttpClient, Request, Response
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.http.messages import values
from spiffe_mcp.identity import BundleSet, SpiffeId, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol
from tests.fakes import links

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
PATH: Final = b"/desk/mcp"

_HEADERS: Final = (
    (b"host", b"localhost"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
)

# What Mcp-Name mirrors: Streamable HTTP "Standard headers", and the extension of tasks.
_NAMED: Final = {
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/cancel": "taskId",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tools/call": "name",
}


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  a test is a composition root


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What a tool said."""
        text: str = self.document["result"]["content"][0]["text"]
        return text

    @property
    def reason(self) -> str:
        """The code that a refused caller is told."""
        reason: str = self.document["error"]["data"]["reason"]
        return reason

    @property
    def code(self) -> int:
        """The JSON-RPC error code."""
        code: int = self.document["error"]["code"]
        return code

    @property
    def tools(self) -> list[str]:
        """The names in a list of tools."""
        return [tool["name"] for tool in self.document["result"]["tools"]]


# -- requests -----------------------------------------------------------------------------------------------


def modern(method: str, *, name: str | None = None, message_id: int = 1, **arguments: Any) -> Request:
    """A request of 2026-07-28: version and capabilities in the body, mirrored in headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, Any] = {"_meta": meta}
    mirrors = [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", method.encode())]
    if name is not None:
        params |= {"name": name, "arguments": arguments}
        mirrors.append((b"mcp-name", name.encode()))
    body = {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}
    return Request(b"POST", PATH, (*_HEADERS, *mirrors), json.dumps(body).encode())


def stateless(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    capabilities: Mapping[str, Any] | None = None,
    message_id: int = 1,
) -> Request:
    """Any request of 2026-07-28, of a client that declares `capabilities`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
    }
    said = {**(params or {}), "_meta": meta}
    mirrors = [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", method.encode())]
    if method in _NAMED:
        mirrors.append((b"mcp-name", str(said[_NAMED[method]]).encode()))
    body = {"jsonrpc": "2.0", "id": message_id, "method": method, "params": said}
    return Request(b"POST", PATH, (*_HEADERS, *mirrors), json.dumps(body).encode())


def legacy(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    message_id: int | None = 1,
    session: bytes | None = None,
) -> Request:
    """A message of 2025-11-25; without `message_id` a notification."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if message_id is not None:
        body["id"] = message_id
    if params is not None:
        body["params"] = params
    headers: Headers = (*_HEADERS, (b"mcp-protocol-version", LEGACY.encode()))
    if session is not None:
        headers = (*headers, (b"mcp-session-id", session))
    return Request(b"POST", PATH, headers, json.dumps(body).encode())


def call(name: str, /, *, message_id: int = 1, **arguments: Any) -> Request:
    """A modern `tools/call`."""
    return modern("tools/call", name=name, message_id=message_id, **arguments)


def initialize(**capabilities: Any) -> Request:
    """What opens a legacy session."""
    info = {"name": "a client", "version": "1"}
    return legacy("initialize", {"protocolVersion": LEGACY, "capabilities": capabilities, "clientInfo": info})


def answering(question: Any, session: bytes) -> Request:
    """A client's answer to what a legacy server asked in `session`."""
    body = {"jsonrpc": "2.0", "id": question, "result": {"action": "accept", "content": {}}}
    return with_body(legacy("", session=session), json.dumps(body).encode())


def listen(session: bytes | None, after: bytes | None = None) -> Request:
    """What opens a stream of a legacy session, or goes on with one after an event."""
    headers: Headers = (
        _HEADERS[0],
        (b"accept", b"text/event-stream"),
        (b"mcp-protocol-version", LEGACY.encode()),
    )
    for name, value in ((b"mcp-session-id", session), (b"last-event-id", after)):
        headers = headers if value is None else (*headers, (name, value))
    return Request(b"GET", PATH, headers, b"")


def with_body(request: Request, body: bytes) -> Request:
    return replace(request, body=body)


def with_header(request: Request, name: str, value: str | bytes) -> Request:
    """`request` with one header more."""
    octets = value.encode() if isinstance(value, str) else value
    return replace(request, headers=(*request.headers, (name.encode(), octets)))


def without_header(request: Request, name: str) -> Request:
    return replace(request, headers=tuple(pair for pair in request.headers if pair[0] != name.encode()))


# -- senders ------------------------------------------------------------------------------------------------


class Plain:
    """A local workload's HTTP client."""

    def __init__(self, address: Address | Path) -> None:
        self.address = address
        self._client = HttpClient(self.connection)

    async def ask(self, request: Request) -> Answer:
        """The whole answer."""
        async with await self.begin(request) as response:
            return Answer(response.head.status, response.head.headers, await response.body(_ANY))

    async def begin(self, request: Request) -> Response:
        """The answer as it arrives."""
        return await self._client.send(request)

    async def connection(self) -> ClientConnection:
        """A connection of its own."""
        loop, at = asyncio.get_running_loop(), self.address
        if isinstance(at, Path):
            _, connection = await loop.create_unix_connection(ClientConnection, str(at))
        else:
            _, connection = await loop.create_connection(ClientConnection, at.host, at.port)
        return connection

    def close(self) -> None:
        self._client.retire()


class Hop:
    """A mutual-TLS client that shows `svid`, trusts `bundles` and says whatever it likes."""

    def __init__(self, address: Address, svid: X509Svid, bundles: BundleSet, server: SpiffeId) -> None:
        self.svid = svid
        self.address = address
        self._server = server
        self._identity = TlsIdentity(IdentityState(svid, bundles), now)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        """A connection whose handshake this side has completed; raises `Refused` if it could not."""
        loop = asyncio.get_running_loop()
        secured: asyncio.Future[ClientConnection] = loop.create_future()

        def on_secured(_: Peer) -> ClientConnection:
            connection = ClientConnection()
            secured.set_result(connection)
            return connection

        def on_refused(_: object, refused: Refused) -> None:
            secured.set_exception(refused)

        def protocol() -> TlsProtocol:
            session = self._identity.connect(self._server)
            return TlsProtocol(session, on_secured=on_secured, on_refused=on_refused)

        transport, _ = await loop.create_connection(protocol, self.address.host, self.address.port)
        try:
            yield await secured
        finally:
            transport.abort()

    async def ask(self, *requests: Request) -> Answer:
        """The answer to the last of `requests`, all sent on one connection."""
        async with self.connected() as connection:
            for request in requests:
                head = await connection.exchange(request)
                body = b""
                while chunk := await connection.read():
                    body += chunk
            return Answer(head.status, head.headers, body)

    def signed(self, request: Request, signer: X509Svid | None = None, /, **claims: Any) -> Request:
        """`request` with a user context that is good for it, but for `claims`."""
        return with_header(request, "mesh-user-context", self.context(request, signer, **claims))

    def context(self, request: Request, signer: X509Svid | None = None, /, **claims: Any) -> str:
        """A user context that is good for `request`, but for `claims`; signed by `signer` if one is given."""
        signer = signer or self.svid
        said = {**self._claims(request, signer), **claims}
        return links.link(signer, claims=said)

    def _claims(self, request: Request, signer: X509Svid) -> dict[str, Any]:
        issued_at = int(now().timestamp())
        (host,) = values(request.headers, b"host")
        return {
            "aud": str(self._server),
            "user": {"groups": ["analysts"]},
            "act": {"sub": str(signer.spiffe_id)},
            "htm": request.method.decode(),
            "htu": f"https://{host.decode()}{request.path.decode()}",
            "bh": links.base64url(sha256(request.body).digest()),
            "mcp": _mirrored(request),
            "jti": str(uuid4()),
            "txn": str(uuid4()),
            "iat": issued_at,
            "exp": issued_at + 60,
        }


def _mirrored(request: Request) -> object:
    try:
        body = json.loads(request.body)
        name = body.get("params", {}).get("name")
        return {"method": body["method"]} | ({} if name is None else {"name": name})
    except (ValueError, KeyError, AttributeError):  # whatever it is, the mesh has to say so
        return links.ABSENT


_ANY: Final = 64 * 1024 * 1024
