"""The relay: plaintext of this process in, TLS to a verified peer out."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol, TlsSession
from spiffe_mcp.tls.relay import TlsRelay
from spiffe_mcp.tls.transport import HANDSHAKE_TIMEOUT
from tests.unit.tls.ends import allowed, ca, identity

SERVER: Final = "spiffe://a.test/server"
MEGABYTES: Final = 8 * 1024 * 1024


class Echo(asyncio.Protocol):
    """Sends back what it gets, and says goodbye when the other side does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@asynccontextmanager
async def serving(path: Path, server: TlsIdentity, accepted: list[Peer]) -> AsyncIterator[None]:
    """A TLS server on a Unix socket that admits clients of `a.test`."""

    def secured(peer: Peer) -> Echo:
        accepted.append(peer)
        return Echo()

    def protocol() -> TlsProtocol:
        session = server.accept(allowed("spiffe://a.test/**"))
        return TlsProtocol(session, on_secured=secured, on_refused=lambda *_: None)

    loop = asyncio.get_running_loop()
    listening = await loop.create_unix_server(protocol, path=str(path))
    try:
        yield
    finally:
        listening.close()


def to_server(client: TlsIdentity | None = None) -> Callable[[], TlsSession]:
    return lambda: (client or identity("/client")).connect_to(allowed(SERVER))


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 10) == b""
    except ConnectionResetError:
        return True


async def test_bytes_go_both_ways_over_a_connection_that_proved_both_ends(tmp_path: Path) -> None:
    accepted: list[Peer] = []
    relay = TlsRelay(tmp_path / "server.sock", to_server())
    sent = os.urandom(MEGABYTES)
    async with (
        serving(tmp_path / "server.sock", identity("/server"), accepted),
        relay.listening(tmp_path) as private,
    ):
        reader, writer = await asyncio.open_unix_connection(private)

        async def send() -> None:
            writer.write(sent)
            await writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            assert await reader.readexactly(len(sent)) == sent
        assert relay.trouble == ""
        writer.close()
    assert [str(peer.spiffe_id) for peer in accepted] == ["spiffe://a.test/client"]


async def test_only_this_user_can_reach_the_private_socket_and_it_goes_with_the_relay(tmp_path: Path) -> None:
    relay = TlsRelay(tmp_path / "server.sock", to_server())
    async with relay.listening(tmp_path) as private:
        assert private.parent.stat().st_mode & 0o777 == 0o700
        assert private.is_socket()
    assert not private.parent.exists()


# Exit code 0 if the connection is ended, whether or not it could still say something.
STRANGER: Final = """
import contextlib, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect(sys.argv[1])
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"x")
        assert connection.recv(1) == b""
"""


async def test_another_process_gets_nothing(tmp_path: Path) -> None:
    accepted: list[Peer] = []
    relay = TlsRelay(tmp_path / "server.sock", to_server())
    async with (
        serving(tmp_path / "server.sock", identity("/server"), accepted),
        relay.listening(tmp_path) as private,
    ):
        stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", STRANGER, private)
        assert await stranger.wait() == 0
    assert accepted == []


WRONG_SERVERS: Final = {
    "another workload of the trust domain": (lambda: identity("/impostor"), Reason.ID_NOT_AUTHORIZED),
    "the same path of another trust domain": (
        lambda: identity("/server", of=ca("b.test")),
        Reason.ID_NOT_AUTHORIZED,
    ),
}


@pytest.mark.parametrize(("server", "reason"), WRONG_SERVERS.values(), ids=WRONG_SERVERS.keys())
async def test_a_server_of_another_id_gets_no_byte_of_ours(
    tmp_path: Path, server: Callable[[], TlsIdentity], reason: Reason
) -> None:
    accepted: list[Peer] = []
    relay = TlsRelay(tmp_path / "server.sock", to_server())
    async with (
        serving(tmp_path / "server.sock", server(), accepted),
        relay.listening(tmp_path) as private,
    ):
        reader, writer = await asyncio.open_unix_connection(private)
        writer.write(b"secret")
        assert await closed(reader)
        writer.close()
        assert relay.trouble.startswith(reason.code)
    assert accepted == []


async def test_a_target_that_is_not_there_is_said_and_the_connection_ended(tmp_path: Path) -> None:
    relay = TlsRelay(tmp_path / "none.sock", to_server())
    async with relay.listening(tmp_path) as private:
        reader, writer = await asyncio.open_unix_connection(private)
        assert await closed(reader)
        writer.close()
        assert relay.trouble == f"{tmp_path}/none.sock: No such file or directory"


async def test_without_an_identity_nothing_is_dialled(tmp_path: Path) -> None:
    def no_identity() -> TlsSession:
        raise Refused(Reason.BROKER_NO_IDENTITY)

    accepted: list[Peer] = []
    relay = TlsRelay(tmp_path / "server.sock", no_identity)
    async with (
        serving(tmp_path / "server.sock", identity("/server"), accepted),
        relay.listening(tmp_path) as private,
    ):
        reader, writer = await asyncio.open_unix_connection(private)
        assert await closed(reader)
        writer.close()
        assert relay.trouble == Reason.BROKER_NO_IDENTITY.code
    assert accepted == []


async def test_connections_are_cut_on_demand(tmp_path: Path) -> None:
    accepted: list[Peer] = []
    relay = TlsRelay(tmp_path / "server.sock", to_server())
    async with (
        serving(tmp_path / "server.sock", identity("/server"), accepted),
        relay.listening(tmp_path) as private,
    ):
        reader, writer = await asyncio.open_unix_connection(private)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        relay.cut()
        assert await closed(reader)
        writer.close()


async def test_a_caller_that_goes_before_the_handshake_is_done_leaves_nothing_open(tmp_path: Path) -> None:
    gone: asyncio.Event = asyncio.Event()

    class Silent(asyncio.Protocol):
        def connection_lost(self, _: Exception | None) -> None:
            gone.set()

    relay = TlsRelay(tmp_path / "server.sock", to_server())
    loop = asyncio.get_running_loop()
    silent = await loop.create_unix_server(Silent, path=str(tmp_path / "server.sock"))
    async with relay.listening(tmp_path) as private:
        _, writer = await asyncio.open_unix_connection(private)
        writer.close()
        async with asyncio.timeout(HANDSHAKE_TIMEOUT / 2):
            await gone.wait()
    silent.close()
