r"""HTTP without a wire: bytes in pieces to a server or a client of `spiffe_mcp.http`, and what became of it.

requests, reasons, written = asyncio.run(serve([b"GET / HT", b"TP/1.1\r\n..."]))
answer = asyncio.run(receive([b"HTTP/1.1 200 OK\r\n..."]))      # or the reason why it is none
"""

import asyncio
from itertools import pairwise
from typing import Any, Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, ResponseHead
from spiffe_mcp.http.client import ClientConnection

LIMITS: Final = Limits(head=512, body=256)


class MemoryTransport(asyncio.Transport):
    """A transport without a wire: it keeps what is written, and knows whether it was closed."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self._protocol = protocol
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Service:
    """Answers everything, and remembers it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reasons: list[Reason] = []

    async def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        await reply.send(ResponseHead(200, ()), b"")

    def rejected(self, refused: Refused) -> None:
        self.reasons.append(refused.reason)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def serve(pieces: list[bytes]) -> tuple[list[Request], list[Reason], bytes]:
    service = Service()
    async with asyncio.TaskGroup() as tasks:
        connection = HttpServer(tasks, LIMITS).connection(service)
        transport = MemoryTransport(connection)
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.is_closing():
                connection.data_received(piece)
            await asyncio.sleep(0)
        await settle()
        transport.close()
        await settle()
    return service.requests, service.reasons, bytes(transport.written)


async def receive(pieces: list[bytes]) -> bytes | Reason:
    connection = ClientConnection()
    transport = MemoryTransport(connection)
    connection.connection_made(transport)

    async def peer() -> None:
        await asyncio.sleep(0)
        for piece in pieces:
            if not transport.is_closing():
                connection.data_received(piece)
            await asyncio.sleep(0)
        transport.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(peer())
        try:
            head = await connection.exchange(Request(b"GET", b"/", ()))
            body = b""
            while chunk := await connection.read():
                body += chunk
        except Refused as refused:
            return refused.reason
    return b"%d %s" % (head.status, body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]
