"""A listener says where it is bound, and takes nothing that is not its own."""

import asyncio
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.listen import Closed, listening

LOOPBACK = Address("127.0.0.1", 0)


class Greeting(asyncio.Protocol):
    """Says hello and hangs up."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def tcp() -> Iterator[Address]:
    """A port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield Address("127.0.0.1", taken.getsockname()[1])


async def heard(where: Address | Path) -> bytes:
    reader, writer = await (
        asyncio.open_unix_connection(where)
        if isinstance(where, Path)
        else asyncio.open_connection(where.host, where.port)
    )
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_the_port_is_the_kernels_choice_and_is_told(host: str) -> None:
    async with listening(Address(host, 0), Greeting) as where:
        assert isinstance(where, Address)
        assert where.port != 0
        assert await heard(where) == b"hello"


async def test_nobody_is_answered_outside() -> None:
    async with listening(LOOPBACK, Greeting) as where:
        pass
    assert isinstance(where, Address)
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await heard(where)


async def test_a_unix_socket_is_for_its_user_alone_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "egress.sock"
    async with listening(path, Greeting) as where:
        assert where == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await heard(path) == b"hello"
    assert not path.exists()


async def test_a_stale_socket_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "egress.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with listening(path, Greeting):
        assert await heard(path) == b"hello"


async def test_a_socket_that_is_served_is_not_taken_from_who_serves_it(tmp_path: Path) -> None:
    path = tmp_path / "egress.sock"
    async with listening(path, Greeting):
        assert "Address already in use" in (await failure(path)).detail
        assert await heard(path) == b"hello"


async def test_a_socket_that_another_has_put_there_since_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "egress.sock"
    async with listening(path, Greeting):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            there = path.lstat()
    assert path.lstat() == there


async def test_a_socket_that_is_gone_already_is_no_trouble(tmp_path: Path) -> None:
    async with listening(tmp_path / "egress.sock", Greeting):
        (tmp_path / "egress.sock").unlink()


async def failure(address: Address | Path) -> Refused:
    with pytest.raises(Refused) as caught:
        async with listening(address, Greeting):
            pass
    assert caught.value.reason is Reason.LISTEN_FAILED
    return caught.value


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A misspelt path must not cost a file."""
    path = tmp_path / "agent.yaml"
    path.write_text("precious")
    await failure(path)
    assert path.read_text() == "precious"


async def test_a_port_that_is_taken_is_named(tcp: Address) -> None:
    assert str(tcp) in (await failure(tcp)).detail


@pytest.mark.parametrize("name", ["absent/egress.sock", "x" * 200])
async def test_a_socket_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    assert name in (await failure(tmp_path / name)).detail


async def test_an_address_of_another_machine_cannot_be_bound() -> None:
    await failure(Address("192.0.2.1", 0))


async def test_a_connection_that_is_not_wanted_is_closed_without_a_byte() -> None:
    async with listening(LOOPBACK, Closed) as where:
        assert await heard(where) == b""
