"""Binding a listener, on TCP or on a Unix socket, and saying where it is bound."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.accepting import accepting
from spiffe_mcp.mesh.addresses import Address

_BACKLOG: Final = 1024


class Closed(asyncio.Protocol):
    """The protocol of a connection that is refused before its first byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


@asynccontextmanager
async def listening(
    address: Address | Path, accept: Callable[[], asyncio.Protocol], *, mode: int = 0o600
) -> AsyncIterator[Address | Path]:
    """Accept connections at `address` while inside; yields where it is bound. Raises `Refused(LISTEN)`.

    `mode` is that of a Unix socket: who may connect to it.
    """
    try:
        listener = _unix(address, mode) if isinstance(address, Path) else _tcp(address)
    except OSError as error:
        raise Refused(Reason.LISTEN_FAILED, f"{address}: {error.strerror}") from None
    bound = _seen_at(address)
    listener.setblocking(False)  # noqa: FBT003  its one argument
    listener.listen(_BACKLOG)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(accepting(listener, accept))
        try:
            yield address if isinstance(address, Path) else Address(address.host, listener.getsockname()[1])
        finally:
            serving.cancel()
            await asyncio.wait([serving])  # it lets go of the socket first
            listener.close()
            if isinstance(address, Path):
                _remove_own(address, bound)


def _seen_at(address: Address | Path) -> os.stat_result | None:
    """What is at that path, to know it again."""
    try:
        return address.lstat() if isinstance(address, Path) else None
    except OSError:
        return None


def _remove_own(path: Path, bound: os.stat_result | None) -> None:
    """Remove the socket that was bound at `path`; another agent's that is there by now stays."""
    there = _seen_at(path)
    if bound is not None and there is not None and os.path.samestat(there, bound):
        path.unlink(missing_ok=True)


def is_stale(path: Path) -> bool:
    """Whether a socket stands at `path` that nobody serves any more, and that may be removed for a new one.

    A misspelt path must not cost a file, and a second agent must not take the callers of the first.
    """
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003  its one argument
        # Any other answer, a full backlog or a permission that is missing, means that somebody is there.
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


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


def _unix(path: Path, mode: int) -> socket.socket:
    """A socket that has this mode from the beginning. A stale one of an earlier run is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if is_stale(path):  # anything else stays, and binding fails on it
            path.unlink(missing_ok=True)
        mask = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
    except OSError:
        listener.close()
        raise
    return listener
