"""A public Unix socket whose callers are known by what the kernel says of them, never by what they say.

Enters: connections of local processes. Leaves: the same byte streams, each relayed to the private socket that
serves the connecting user and nobody else. gRPC for Python does not show a server who its peer is; so the
question is settled before gRPC sees the first byte. Knows nothing of gRPC and of SPIFFE.

The user is read once, at connect: a process that hands its connection to another hands over its own identity.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.listen import is_stale
from spiffe_mcp.peer_credentials import PeerCredentials

MAX_CONNECTIONS_PER_USER: Final = 64  # one user's leak must not lock the others out
MAX_PATH_BYTES: Final = 107  # unix(7): sun_path less its terminator

# Everyone may connect, as to SPIRE's: a workload has no credential before this socket gives it one, so the
# guard is attestation and not the file mode (Workload Endpoint section 5). Only the write bits count here.
_SOCKET_MODE: Final = 0o666
# Only the owner may put another socket in this one's place.
_DIRECTORY_MODE: Final = 0o755

_BACKLOG: Final = 128
_CHUNK_BYTES: Final = 64 * 1024
_OUT_OF_DESCRIPTORS_PAUSE: Final = 0.1  # seconds

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Routes:
    """Which private socket serves which user; whoever has none is served by `stranger`."""

    by_uid: Mapping[int, Path]
    stranger: Path

    def of(self, uid: int) -> Path:
        """The private socket for `uid`."""
        return self.by_uid.get(uid, self.stranger)


@contextlib.contextmanager
def bound(path: Path) -> Iterator[socket.socket]:
    """A listening socket at `path`, whose directory is made if need be; the file goes when the block ends.

    A socket that nobody listens on any more is replaced. Raises `Refused(DEV_SOCKET)` if the path is too
    long, if a live server has it, or if it is something else than a socket.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise Refused(Reason.DEV_SOCKET, f"{path}: longer than the {MAX_PATH_BYTES} bytes of a socket's path")
    path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    _remove_stale(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)  # noqa: FBT003  the standard library's signature
        listener.bind(os.fspath(path))
        ours = path.stat().st_ino
        try:
            path.chmod(_SOCKET_MODE)
            listener.listen(_BACKLOG)
            yield listener
        finally:
            # A successor may have bound the path meanwhile: its socket is not ours to remove.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == ours:
                    path.unlink()


async def serve(listener: socket.socket, routes: Routes) -> None:
    """Relay every connection to the private socket of its user, until cancelled."""
    loop = asyncio.get_running_loop()
    pending = asyncio.Event()
    loop.add_reader(listener, pending.set)
    connections: Counter[int] = Counter()
    try:
        async with asyncio.TaskGroup() as relays:
            while True:
                client = await _accept(listener, pending)
                _admit(client, routes, connections, relays)
    finally:
        loop.remove_reader(listener)


async def _accept(listener: socket.socket, pending: asyncio.Event) -> socket.socket:
    """The next connection. Unlike with `loop.sock_accept`, a cancellation cannot lose an accepted one."""
    while True:
        await pending.wait()
        pending.clear()
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue
        except OSError as error:
            # Out of descriptors: the connection stays pending, and asking again at once would spin.
            _log.warning("cannot accept: %s", error.strerror)
            await asyncio.sleep(_OUT_OF_DESCRIPTORS_PAUSE)
            continue
        client.setblocking(False)  # noqa: FBT003  the standard library's signature
        return client


def _admit(
    client: socket.socket, routes: Routes, connections: Counter[int], relays: asyncio.TaskGroup
) -> None:
    uid = PeerCredentials.of(client).uid
    if connections[uid] >= MAX_CONNECTIONS_PER_USER:
        _log.warning("uid %d holds %d connections: one more is closed", uid, connections[uid])
        client.close()
        return
    if uid not in routes.by_uid:
        _log.info("uid %d has no entry: no identity will be issued", uid)
    connections[uid] += 1
    relays.create_task(_relay(client, routes.of(uid))).add_done_callback(_Release(client, connections, uid))


async def _relay(client: socket.socket, private: Path) -> None:
    """Carry bytes both ways until either end closes: HTTP/2 has no use for half a connection."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as inner, contextlib.suppress(OSError):
        inner.setblocking(False)  # noqa: FBT003  the standard library's signature
        await loop.sock_connect(inner, os.fspath(private))
        async with asyncio.TaskGroup() as both:
            directions = {both.create_task(_pump(client, inner)), both.create_task(_pump(inner, client))}
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()


async def _pump(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    # A reset ends a connection as well as an end of file does.
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(source, _CHUNK_BYTES):
            await loop.sock_sendall(target, chunk)


@dataclass(frozen=True, slots=True)
class _Release:
    """What has to happen when a relay ends, even if it was cancelled before it began."""

    client: socket.socket
    connections: Counter[int]
    uid: int

    def __call__(self, _relay: asyncio.Task[None]) -> None:
        self.client.close()
        self.connections[self.uid] -= 1


def _remove_stale(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_socket():
        raise Refused(Reason.DEV_SOCKET, f"{path}: there, and not a socket")
    if not is_stale(path):
        raise Refused(Reason.DEV_SOCKET, f"{path}: another server listens there")
    path.unlink(missing_ok=True)
