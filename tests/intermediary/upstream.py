"""The suite's MCP server: it keeps the exact bytes that reached it, and answers what a check scripts.

    with upstream.answering("tools/call", handler):      # `handler(message, answering)`, until the block ends
        ...
    upstream.received[-1].raw                            # head and body, as they came

Without a script it is a plain server of both eras with the tools of `catalogue`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

from tests.intermediary.catalogue import LIVE
from tests.intermediary.framing import Cut, Head, body_of, read_head
from tests.intermediary.mcp import CACHED, LEGACY, MARK, MODERN, response, said

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    head: Head
    body: bytes  # without its chunks

    @property
    def raw(self) -> bytes:
        return self.head.raw + self.body

    @property
    def method(self) -> bytes:
        return self.head.start.split(b" ")[0]

    @property
    def message(self) -> Message:
        """What its body says; empty if that is no JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def ours(self) -> bool:
        """Whether the suite sent it, in whatever encoding, or it calls a tool; proxies ask questions too."""
        marked = MARK.encode() in self.raw.replace(b"\0", b"")
        return marked or self.message.get("method") == "tools/call"


class Answering:
    """The other direction of one connection, at the disposal of a handler."""

    def __init__(self, writer: asyncio.StreamWriter, received: Received, gone: asyncio.Event) -> None:
        self._writer = writer
        self.received = received
        self.gone = gone  # set once the caller has closed

    async def whole(self, body: bytes, *headers: bytes, status: bytes = b"200 OK") -> None:
        """One JSON body."""
        lines = (b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers)
        await self.raw(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, b"\r\n".join(lines), body))

    async def empty(self, status: bytes = b"202 Accepted") -> None:
        """No body."""
        await self.raw(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)

    async def stream(self, *headers: bytes) -> None:
        """The head of a stream of events."""
        lines = (b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked", *headers)
        await self.raw(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % b"\r\n".join(lines))

    async def piece(self, data: bytes) -> None:
        """A chunk."""
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, document: bytes) -> None:
        """One event, in a chunk of its own."""
        await self.piece(b"event: message\ndata: " + document + b"\n\n")

    async def end(self) -> None:
        """The last chunk."""
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        """Any bytes."""
        self._writer.write(data)
        await self._writer.drain()

    def die(self) -> None:
        """The connection ends in the middle of whatever it was."""
        self._writer.transport.abort()


Handler: TypeAlias = Callable[[Message, Answering], Awaitable[None]]


class ScriptedUpstream:
    """The server."""

    def __init__(self) -> None:
        self.tools: Sequence[Message] = LIVE
        self.received: list[Received] = []
        self.port = 0
        self._scripts: dict[str, Handler] = {}
        self._sessions = count(1)
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        """Its MCP endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def since(self, mark: int) -> list[Received]:
        """What the suite sent has reached the server after `mark` requests had."""
        return [received for received in self.received[mark:] if received.ours]

    async def arrival(self, mark: int, wanted: Callable[[Received], bool]) -> Received:
        """The first request after the first `mark` that is `wanted`, once it has come."""
        while True:
            for received in self.received[mark:]:
                if wanted(received):
                    return received
            self._came.clear()
            await self._came.wait()

    @contextmanager
    def answering(self, method: str, handler: Handler) -> Iterator[None]:
        """`handler` answers requests of `method` inside; GET and DELETE are methods too."""
        assert method not in self._scripts, "one script at a time"
        self._scripts[method] = handler
        try:
            yield
        finally:
            del self._scripts[method]

    @contextmanager
    def listing(self, tools: Sequence[Message]) -> Iterator[None]:
        """Other tools, inside."""
        before, self.tools = self.tools, tools
        try:
            yield
        finally:
            self.tools = before

    async def serve(self, reader: "_Reader", writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while (head := await read_head(reader)) is not None:
                body = b"".join([piece async for piece in body_of(reader, head, until_close=False)])
                received = Received(head, body)
                self.received.append(received)
                self._came.set()
                message = received.message
                method = str(message.get("method") or received.method.decode("latin-1"))
                handler = self._scripts.get(method, self._plain)
                await handler(message, Answering(writer, received, reader.gone))
        except (Cut, ConnectionError):
            pass  # whoever called has left; what it had sent is no whole request
        finally:
            writer.close()

    async def _plain(self, message: Message, answering: Answering) -> None:
        if "id" not in message or "method" not in message:
            await answering.empty(
                b"202 Accepted" if message or not answering.received.body else b"400 Bad Request"
            )
            return
        session: tuple[bytes, ...] = ()
        if message["method"] == "initialize":
            session = (b"Mcp-Session-Id: session-%d" % next(self._sessions),)
        await answering.whole(response(message, self._result(message)), *session)

    def _result(self, message: Message) -> Message:
        info = {"name": "scripted", "version": "1"}
        params = message.get("params", {})
        match message["method"]:
            case "server/discover":
                offered = {"supportedVersions": [MODERN], "serverInfo": info, "instructions": "Be kind."}
                return {**offered, "capabilities": {"tools": {}}, **CACHED}
            case "initialize":
                version = params.get("protocolVersion", LEGACY)
                return {"protocolVersion": version, "serverInfo": info, "capabilities": {"tools": {}}}
            case "tools/list":
                return listed(message, self.tools)
            case "tools/call":
                return said(str(params.get("arguments", {}).get("text", "")))
            case method if method in _EMPTY:
                return {**_EMPTY[method], **CACHED}
            case _:
                return {"resultType": "complete"}


# The other primitives, as far as a server has to answer that has none to speak of.
_EMPTY: Final[dict[str, Message]] = {
    "prompts/list": {"prompts": []},
    "prompts/get": {"messages": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
    "resources/read": {"contents": []},
    "completion/complete": {"completion": {"values": []}},
}


def listed(message: Message, tools: Sequence[Message]) -> Message:
    """The result of a `tools/list`, in the era of the question."""
    is_modern = "_meta" in message.get("params", {})
    return {"tools": [*tools], **(CACHED if is_modern else {})}


class _Reader(asyncio.StreamReader):
    """A stream whose end can be waited for while nothing is read from it."""

    def __init__(self) -> None:
        super().__init__(limit=16 * 1024 * 1024)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


@asynccontextmanager
async def serving(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[ScriptedUpstream]:
    """The server, on a port of the kernel's choice or on the one that a proxy was told."""
    upstream = ScriptedUpstream()
    served: list[tuple[asyncio.StreamWriter, asyncio.Task[None]]] = []
    async with asyncio.TaskGroup() as tasks:

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert isinstance(reader, _Reader)
            served.append((writer, tasks.create_task(upstream.serve(reader, writer))))

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(_Reader(), accepted)

        listener = await asyncio.get_running_loop().create_server(protocol, host, port)
        upstream.port = listener.sockets[0].getsockname()[1]
        try:
            yield upstream
        finally:
            listener.close()
            for writer, serving_it in served:
                writer.transport.abort()
                serving_it.cancel()  # a script may wait for what a failed check never did
