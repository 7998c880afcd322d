"""A plain reverse proxy, as one writes it in an afternoon: it reads HTTP, sets `Host`, passes the rest on.

It is here to be failed: a suite that it passes proves nothing. It is not naive in its framing, and as good as
any such proxy at passing bytes and streams on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.intermediary.framing import Cut, Head, body_of, read_head

_LIMIT = 16 * 1024 * 1024


def _rewritten(head: Head, port: int, length: int) -> bytes:
    """The head as it goes on: every header but framing, and the server's own name."""
    dropped = {b"host", b"content-length", b"transfer-encoding", b"connection"}
    lines = [line for line in head.headers if line[0] not in dropped]
    lines += [
        (b"host", b"127.0.0.1:%d" % port),
        (b"content-length", b"%d" % length),
        (b"connection", b"close"),
    ]
    return head.start + b"\r\n" + b"".join(b"%s: %s\r\n" % line for line in lines) + b"\r\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The whole answer, as it comes; then it is over."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionAbortedError


async def _until_left(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
    raise ConnectionAbortedError


class _Exchange:
    """One request and its answer."""

    def __init__(self, upstream_port: int) -> None:
        self._port = upstream_port

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the request on, then the answer back, until either side closes."""
        try:
            head = await read_head(reader)
            if head is not None:
                body = b"".join([piece async for piece in body_of(reader, head, until_close=False)])
                await self._answered(_rewritten(head, self._port, len(body)) + body, reader, writer)
        except* (Cut, ConnectionError):
            pass  # one of the two has left
        finally:
            writer.close()

    async def _answered(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self._port, limit=_LIMIT)
        try:
            out.write(request)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(there, writer))
                tasks.create_task(_until_left(reader))
        finally:
            out.transport.abort()


@asynccontextmanager
async def pass_through(upstream_port: int) -> AsyncIterator[str]:
    """The URL of a proxy that passes everything on to the server at `upstream_port`."""
    writers: list[asyncio.StreamWriter] = []
    async with asyncio.TaskGroup() as tasks:

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            tasks.create_task(_Exchange(upstream_port).run(reader, writer))

        listener = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=_LIMIT)
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
        finally:
            listener.close()
            for writer in writers:
                writer.transport.abort()
