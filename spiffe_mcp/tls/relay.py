"""A relay that lends our TLS to a client library whose own cannot do it.

grpcio insists on a DNS name in a server's certificate, and an X509-SVID has none. So it dials, in plaintext,
a private Unix socket; for each connection this relay dials the target, proves both ends by SPIFFE ID, and
then carries bytes. Enters: a session for each connection. Leaves: why a connection could not be made; nothing
of what is carried. It knows no protocol inside and no rule of trust.

Nobody else gets at what it lends, which is this agent's identity:
 (1) the socket stands in a directory that only this user may enter;
 (2) a connection is taken only from this very process (SO_PEERCRED, unix(7));
 (3) nothing of it is passed on before the peer at the target is verified.
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

from spiffe_mcp.errors import Refused
from spiffe_mcp.peer_credentials import PeerCredentials
from spiffe_mcp.tls.session import TlsSession
from spiffe_mcp.tls.transport import TlsProtocol
from spiffe_mcp.tls.verification import Peer

_MAX_EARLY_BYTES: Final = 64 * 1024  # from a client that does not wait for the handshake


class TlsRelay:
    """Carries connections of this process to the Unix socket at `target`.

    `session` makes the client's end of one connection, or raises `Refused`. `trouble` says why the newest
    connection could not be made or broke; empty if it did not.
    """

    def __init__(self, target: Path, session: Callable[[], TlsSession]) -> None:
        self._target = target
        self._session = session
        self.trouble = ""
        self._locals: set[_Local] = set()

    @asynccontextmanager
    async def listening(self, directory: Path | None) -> AsyncIterator[Path]:
        """Carry while inside; yields the private socket.

        It is made below `directory` (None: where temporary files go), and removed at the end.
        """
        loop = asyncio.get_running_loop()
        with tempfile.TemporaryDirectory(prefix="spiffe-mcp-", dir=directory) as private:  # (1): mode 0700
            path = Path(private) / "relay.sock"
            async with asyncio.TaskGroup() as tasks:
                server = await loop.create_unix_server(lambda: self._accepted(tasks), path=str(path))
                try:
                    yield path
                finally:
                    server.close()
                    self.cut()
                    await asyncio.sleep(0)  # the loop closes what was aborted in its next turn

    def cut(self) -> None:
        """End every connection now."""
        for local in self._locals.copy():
            local.abort()

    def _accepted(self, tasks: asyncio.TaskGroup) -> "_Local":
        def made(local: _Local) -> None:
            self._locals.add(local)
            tasks.create_task(self._dial(local))

        return _Local(_Far(self._broke), on_made=made, on_lost=self._locals.discard)

    def _broke(self, why: Exception) -> None:
        self.trouble = str(why) if isinstance(why, Refused) else type(why).__name__

    async def _dial(self, local: "_Local") -> None:
        loop = asyncio.get_running_loop()

        def on_secured(_: Peer) -> _End:
            self.trouble = ""
            return local.far

        def on_refused(_: object, refused: Refused) -> None:
            self._fail(local, str(refused))

        try:
            session = self._session()
            _, dialled = await loop.create_unix_connection(
                lambda: TlsProtocol(session, on_secured=on_secured, on_refused=on_refused),
                path=str(self._target),
            )
            local.follow(dialled)
        except Refused as refused:
            self._fail(local, str(refused))
        except OSError as error:
            self._fail(local, f"{self._target}: {error.strerror}")

    def _fail(self, local: "_Local", why: str) -> None:
        self.trouble = why
        local.abort()


class _End(asyncio.Protocol):
    """One side of a connection: what it reads, the other side writes, as fast as that side takes it."""

    def __init__(self) -> None:
        self._other: _End
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()  # what is to be written once this side is there

    def join(self, other: "_End") -> None:
        """Make `other` the other side."""
        self._other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what has waited for it (3)."""
        self._transport = cast("asyncio.Transport", transport)
        self.write(bytes(self._early))
        self._early.clear()
        self._other.let_read()

    def is_there(self) -> bool:
        """Whether this side is, or was, connected."""
        return self._transport is not None

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        self._other.write(data)

    def write(self, data: bytes) -> None:
        """Send what the other side read."""
        if self._transport is None:
            self._early += data
            if len(self._early) > _MAX_EARLY_BYTES:  # not before: whoever does not read sees no end either
                self._other.hold()
        elif (transport := self._open()) is not None:
            transport.write(data)

    def pause_writing(self) -> None:
        """Let the other side wait until this one has sent what it holds."""
        self._other.hold()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        self._other.let_read()

    def hold(self) -> None:
        """Read no more for now."""
        if (transport := self._open()) is not None:
            transport.pause_reading()

    def let_read(self) -> None:
        """Read on."""
        if (transport := self._open()) is not None:
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """End the other side, once it has sent what it holds."""
        self._other.close()

    def close(self) -> None:
        """End, once what is held is sent."""
        if (transport := self._open()) is not None:
            transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()

    def _open(self) -> asyncio.Transport | None:
        transport = self._transport
        return None if transport is None or transport.is_closing() else transport


class _Far(_End):
    """The side of the target, whose peer is verified."""

    def __init__(self, on_broken: Callable[[Exception], None]) -> None:
        super().__init__()
        self._on_broken = on_broken

    def connection_lost(self, exc: Exception | None) -> None:
        """Say why: in TLS 1.3 a server refuses us only when our own handshake is done."""
        if exc is not None:
            self._on_broken(exc)
        super().connection_lost(exc)


class _Local(_End):
    """The side of this process; `far` is the other one."""

    def __init__(
        self, far: _Far, *, on_made: Callable[["_Local"], None], on_lost: Callable[["_Local"], None]
    ) -> None:
        super().__init__()
        self.far: Final = far
        self.join(self.far)
        self.far.join(self)
        self._on_made = on_made
        self._on_lost = on_lost
        self._dialled: TlsProtocol | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it if it is our own (2)."""
        super().connection_made(transport)
        if _pid_of_peer(transport) == os.getpid():
            self._on_made(self)
        else:
            self.abort()

    def abort(self) -> None:
        """End both sides now: nobody is left to take what they hold."""
        super().abort()
        self.far.abort()
        if self._dialled is not None:
            self._dialled.abort()

    def follow(self, dialled: TlsProtocol) -> None:
        """The other side is being proved; it is not waited for once this one has gone."""
        self._dialled = dialled
        if self._is_lost:
            dialled.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._on_lost(self)
        self._is_lost = True
        if self._dialled is not None and not self.far.is_there():
            self._dialled.abort()


def _pid_of_peer(transport: asyncio.BaseTransport) -> int:
    connection: socket.socket = transport.get_extra_info("socket")
    return PeerCredentials.of(connection).pid
