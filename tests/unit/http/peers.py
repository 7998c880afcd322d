"""A peer that says exactly what a test says, and a client of it whose connections are counted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import HttpClient, Request
from spiffe_mcp.http.client import ClientConnection
from tests.unit.http.serving import Running, until

GET = Request(b"GET", b"/", ((b"host", b"x"),))

Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server of scripted bytes, and a client whose connections are counted."""

    client: HttpClient
    connections: list[ClientConnection] = field(default_factory=list)


@asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncIterator[Peer]:
    async def connect() -> ClientConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            ClientConnection, "127.0.0.1", port
        )
        peer.connections.append(connection)
        return connection

    peer = Peer(HttpClient(connect, **options))
    yield peer
    peer.client.retire()
    assert all(connection._transport.is_closing() for connection in peer.connections)
    await until(lambda: all(connection._lost for connection in peer.connections))


@asynccontextmanager
async def scripted(script: Script, **options: Any) -> AsyncIterator[Peer]:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    async with connected(server.sockets[0].getsockname()[1], **options) as peer:
        yield peer
    server.close()
    await server.wait_closed()


def says(data: bytes, *, stay: bool = False) -> Script:
    """Answers each request on a connection with `data`, then closes, or waits for the client to close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
            if not stay:
                writer.close()
                await writer.wait_closed()

    return script


async def fetch(client: HttpClient, request: Request = GET) -> bytes:
    async with await client.send(request) as response:
        return await response.body(1 << 30)


async def refusal(awaitable: Awaitable[Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value


@asynccontextmanager
async def served(running: Running, **options: Any) -> AsyncIterator[Peer]:
    async with connected(running.port, **options) as peer:
        yield peer
