"""An MCP server of both eras that remembers every request it got, and answers as the test says.

    async with serving_mcp(tools) as server:
        server.url                          # what an ingress is configured with
        server.tools = [...]                # what it lists from now on
        server.answer = some_handler        # how it answers tools/call from now on; `echo` by default
        server.requests, server.accepted    # what came, on how many connections

Written on the project's HTTP room and `json` alone: what it believes of MCP is spelled out here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final, TypeAlias

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Headers, HttpServer, Limits, Reply, Request, ResponseHead
from spiffe_mcp.tls import TlsProtocol, TlsSession

Message: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Message, Reply], Awaitable[None]]

JSON: Final = ((b"content-type", b"application/json"),)
STREAM: Final = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
INPUT: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}


def tool(name: str, **members: Any) -> Message:
    """A tool as the server lists it; it takes one text."""
    return {"name": name, "description": f"The tool {name}.", "inputSchema": INPUT, **members}


def result_of(message: Message, text: str) -> bytes:
    """The response to `message`, saying `text`, as both eras take it."""
    content = [{"type": "text", "text": text}]
    result = {"resultType": "complete", "content": content, "isError": False}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


def event(document: bytes) -> bytes:
    """One server-sent event."""
    return b"event: message\r\ndata: " + document + b"\r\n\r\n"


async def echo(message: Message, reply: Reply) -> None:
    """The text that came, in one JSON body."""
    text = message["params"].get("arguments", {}).get("text", "")
    await reply.send(ResponseHead(200, JSON), result_of(message, text))


class RecordingServer:
    """The server. Its own state is all there is: nothing of the mesh is known here."""

    def __init__(self, tools: list[Message]) -> None:
        self.tools = tools
        self.answer: Handler = echo
        self.others: dict[str, Handler] = {}  # how it answers other methods
        self.ending = 200  # the status of an answer to DELETE
        self.requests: list[Request] = []
        self.handshakes_refused: list[Refused] = []
        self.accepted = 0
        self.port = 0
        self.http: HttpServer
        self._sessions = count(1)

    @property
    def url(self) -> str:
        """Where its MCP endpoint is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def called(self) -> list[Message]:
        """The bodies of all `tools/call` that came, in order."""
        messages = [json.loads(request.body) for request in self.requests if request.body]
        return [message for message in messages if message.get("method") == "tools/call"]

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self.http._connections)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing reaches the server inside: no request, no connection."""
        before = len(self.requests), self.accepted
        yield
        assert (len(self.requests), self.accepted) == before

    @contextmanager
    def answering(self, handler: Handler, *others: str) -> Iterator[None]:
        """Another answer to `tools/call`, inside; to the methods `others` instead, if there are any."""
        before, others_before = self.answer, dict(self.others)
        if others:
            self.others |= dict.fromkeys(others, handler)
        else:
            self.answer = handler
        try:
            yield
        finally:
            self.answer, self.others = before, others_before

    @contextmanager
    def listing(self, tools: list[Message]) -> Iterator[None]:
        """Other tools, inside."""
        before, self.tools = self.tools, tools
        try:
            yield
        finally:
            self.tools = before

    async def listened(self, _: Request, reply: Reply) -> None:
        """How it answers GET: it has no streams."""
        await reply.send(ResponseHead(405, ()), b"")

    # -- http.Service ---------------------------------------------------------------------------------------

    async def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        if request.method == b"DELETE":
            await reply.send(ResponseHead(self.ending, ()), b"")
            return
        if request.method == b"GET":
            await self.listened(request, reply)
            return
        message = json.loads(request.body)
        if "method" not in message:  # a client's answer to a question
            await reply.send(ResponseHead(202, ()), b"")
        elif message["method"] == "tools/call":
            await self.answer(message, reply)
        elif message["method"] in self.others:
            await self.others[message["method"]](message, reply)
        elif "id" not in message:
            await reply.send(ResponseHead(202, ()), b"")
        else:
            session: Headers = ()
            if message["method"] == "initialize":
                session = ((b"mcp-session-id", f"session-{next(self._sessions)}".encode()),)
            body = {"jsonrpc": "2.0", "id": message["id"], "result": self._result(message["method"])}
            await reply.send(ResponseHead(200, (*JSON, *session)), json.dumps(body).encode())

    def rejected(self, refused: Refused) -> None:
        raise AssertionError(f"the mesh sent what is no request: {refused}")

    def refused(self, _: object, refused: Refused) -> None:
        """A handshake came to nothing."""
        self.handshakes_refused.append(refused)

    def _result(self, method: str) -> Message:
        info = {"name": "recording", "version": "1"}
        capabilities: Message = {"tools": {}}
        match method:
            case "server/discover":
                offered = {"supportedVersions": ["2026-07-28"], "serverInfo": info}
                return {**offered, "capabilities": capabilities, "resultType": "complete"}
            case "initialize":
                return {"protocolVersion": "2025-11-25", "serverInfo": info, "capabilities": capabilities}
            case "tools/list":
                return {"tools": self.tools, "resultType": "complete"}
            case _:
                return {}


@asynccontextmanager
async def serving_mcp(
    tools: list[Message], port: int = 0, secured: Callable[[], TlsSession] | None = None
) -> AsyncIterator[RecordingServer]:
    """The server on a port of the kernel's choice, or on one that it had before; over TLS if `secured`."""
    server = RecordingServer(tools)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        http = server.http = HttpServer(tasks, Limits())

        def accept() -> asyncio.Protocol:
            server.accepted += 1
            if secured is None:
                return http.connection(server)
            return TlsProtocol(
                secured(), on_secured=lambda _: http.connection(server), on_refused=server.refused
            )

        listener = await loop.create_server(accept, "127.0.0.1", port)
        server.port = listener.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            listener.close()
            http.close()
