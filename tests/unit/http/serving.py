"""A running `HttpServer` on a real socket, and a peer that speaks bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, ResponseHead

Handler: TypeAlias = Callable[[Request, Reply], Awaitable[None]]

OK = ResponseHead(200, ((b"content-type", b"text/plain"),))
SSE = ResponseHead(200, ((b"content-type", b"text/event-stream"),))


async def echo(request: Request, reply: Reply) -> None:
    await reply.send(OK, b"%s %s %s" % (request.method, request.target, request.body))


@dataclass
class RecordingService:
    """A service that remembers what came, and leaves the answering to a function."""

    handler: Handler
    requests: list[Request] = field(default_factory=list)
    rejections: list[Refused] = field(default_factory=list)

    async def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        await self.handler(request, reply)

    def rejected(self, refused: Refused) -> None:
        self.rejections.append(refused)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Wire:
    """A client that says exactly what the test says."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes) -> Answer:
        self.say(data)
        return await self.answer()

    async def head(self) -> Answer:
        block = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        start, *lines = block.rstrip("\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(int(start.split()[1]), {name: value for name, value in pairs}, b"")  # noqa: C416  lists are no pairs

    async def answer(self) -> Answer:
        head = await self.head()
        if "content-length" in head.headers:
            return head._replace(body=await self.reader.readexactly(int(head.headers["content-length"])))
        body = b""
        if head.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                body += chunk
        return head._replace(body=body)

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        """All until the server closes; a reset is an end like any other."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def cut(self) -> None:
        self.writer.transport.abort()


@dataclass
class Running:
    http: HttpServer
    service: RecordingService
    port: int

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()

    @property
    def connections(self) -> list[Any]:
        return list(self.http._connections)

    async def all_gone(self) -> None:
        await until(lambda: not self.http._connections)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; the test's own timeout bounds it."""
    while not true():  # noqa: ASYNC110  state inside a connection, which has no event for tests
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(handler: Handler = echo, limits: Limits | None = None) -> AsyncIterator[Running]:
    """A server on a port of the kernel's choice. Errors that only a loop would hear fail the test."""
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    service = RecordingService(handler)
    async with asyncio.TaskGroup() as tasks:
        http = HttpServer(tasks, limits or Limits())
        listener = await loop.create_server(lambda: http.connection(service), "127.0.0.1", 0)
        running = Running(http, service, listener.sockets[0].getsockname()[1])
        try:
            yield running
        finally:
            listener.close()
            http.close()
            await running.all_gone()
            await listener.wait_closed()
    assert unheard == []
