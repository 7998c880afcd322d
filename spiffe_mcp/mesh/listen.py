"""Binding a listener, on TCP or on a Unix socket, and saying where it is bound."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.routes import Address

_BACKLOG: Final = 1024


class Closed(asyncio.Protocol):
    """The protocol of a connection that is refused before its first byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


@asynccontextmanager
async def listening(
    address: Address | Path, accept: Callable[[], asyncio.Protocol]
) -> AsyncIterator[Address | Path]:
    """Accept connections at `address` while inside; yields where it is bound. Raises `Refused(LISTEN)`."""
    loop = asyncio.get_running_loop()
    try:
        listener = _unix(address) if isinstance(address, Path) else _tcp(address)
    except OSError as error:
        raise Refused(Reason.LISTEN_FAILED, f"{address}: {error.strerror}") from None
    make = loop.create_unix_server if isinstance(address, Path) else loop.create_server
    server = await make(accept, sock=listener, backlog=_BACKLOG)
    try:
        yield address if isinstance(address, Path) else Address(address.host, listener.getsockname()[1])
    finally:
        server.close()
        if isinstance(address, Path):
            _remove(address)


def _remove(path: Path) -> None:
    """Remove a socket. Anything else at that path stays: a misspelt path must not cost a file."""
    if path.is_socket():
        path.unlink(missing_ok=True)


def _tcp(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: Path) -> socket.socket:
    """A socket that only this user may connect to. A stale one of an earlier run is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove(path)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
    except OSError:
        listener.close()
        raise
    return listener
