"""This process's standard input and output as lines of an event loop, which neither of them holds up.

Pipes, sockets and terminals are waited for; a file (or /dev/null) is always ready, and read as it is. A
client that reads nothing holds its own answers up, and in the end its server. One that has gone is like one
that has closed its side: nothing more comes in.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

from spiffe_mcp.mcp.stdio import LineDecoder, encode_line

PARTING: Final = 1.0  # seconds
_CHUNK: Final = 64 * 1024

_Read: TypeAlias = Callable[[], Awaitable[bytes]]
_Write: TypeAlias = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Stdio:
    """Both directions."""

    _read: _Read
    _write: _Write
    _gone: bool = False

    async def lines(self) -> AsyncIterator[bytes]:
        """What the client writes; raises `Refused(MCP_LINE_TOO_LONG)`."""
        decoder = LineDecoder()
        while not self._gone and (chunk := await self._read()):
            for line in decoder.feed(chunk):
                yield line

    async def write(self, message: bytes) -> None:
        """Write `message` as one line."""
        try:
            await self._write(encode_line(message))
        except ConnectionError:  # it has gone, and its own side of the other pipe with it
            self._gone = True


@asynccontextmanager
async def serving_stdio(source: BinaryIO, sink: BinaryIO) -> AsyncIterator[Stdio]:
    """`source` and `sink` while inside; what was written has `PARTING` seconds more to be read."""
    async with AsyncExitStack() as stack:
        yield Stdio(await _reading(source, stack), await _writing(sink, stack))


async def _reading(source: BinaryIO, stack: AsyncExitStack) -> _Read:
    if not _is_waited_for(source):
        return lambda: _read_file(source)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    stack.callback(transport.close)
    return lambda: reader.read(_CHUNK)


async def _writing(sink: BinaryIO, stack: AsyncExitStack) -> _Write:
    if not _is_waited_for(sink):
        return lambda data: _write_file(sink, data)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    stack.push_async_callback(_flush, writer)

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return write


async def _flush(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(PARTING):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except ConnectionError:
        return  # nobody reads it any more


async def _read_file(source: BinaryIO) -> bytes:
    return os.read(source.fileno(), _CHUNK)


async def _write_file(sink: BinaryIO, data: bytes) -> None:
    sink.write(data)
    sink.flush()


def _is_waited_for(stream: BinaryIO) -> bool:
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()
