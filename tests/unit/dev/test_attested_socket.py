"""The public socket: who is let to which private socket, and what becomes of the file."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from spiffe_mcp.dev import attested_socket
from spiffe_mcp.dev.attested_socket import MAX_CONNECTIONS_PER_USER, Routes, bound
from spiffe_mcp.errors import Reason, Refused

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def relaying(tmp_path: Path, answer: bytes, registered: dict[int, Path]) -> AsyncIterator[Path]:
    """A public socket whose private ones answer each line with their name; yields the public path."""
    public = tmp_path / "public.sock"
    routes = Routes(registered, tmp_path / "stranger")
    async with contextlib.AsyncExitStack() as stack:
        for path in {*registered.values(), routes.stranger}:
            name = path.name.encode()
            server = await asyncio.start_unix_server(naming(name, answer), path)
            await stack.enter_async_context(server)
        listener = stack.enter_context(bound(public))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(attested_socket.serve(listener, routes))
            yield public
            serving.cancel()


def naming(name: bytes, answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(name + answer + b"\n")
            await writer.drain()
        writer.close()

    return handle


async def asked(path: Path) -> bytes:
    """The answer, or nothing if the connection is closed instead."""
    reader, writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        writer.write(b"who am I?\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line
    return b""


async def test_a_registered_user_reaches_its_own_private_socket(tmp_path: Path) -> None:
    async with relaying(
        tmp_path, b"!", {os.getuid(): tmp_path / "mine", 12345: tmp_path / "other"}
    ) as public:
        assert await asked(public) == b"mine!\n"


async def test_a_user_without_an_entry_reaches_the_socket_for_strangers(tmp_path: Path) -> None:
    async with relaying(tmp_path, b"!", {12345: tmp_path / "other"}) as public:
        assert await asked(public) == b"stranger!\n"


async def test_much_data_passes_unchanged(tmp_path: Path) -> None:
    answer = os.urandom(500_000).replace(b"\n", b"-")
    async with relaying(tmp_path, answer, {}) as public:
        reader, writer = await asyncio.open_unix_connection(public, limit=2**21)
        writer.write(b"?\n")
        assert await reader.readline() == b"stranger" + answer + b"\n"
        writer.close()
        await writer.wait_closed()


async def test_one_users_connections_are_bounded_and_a_closed_one_makes_room(tmp_path: Path) -> None:
    async with relaying(tmp_path, b"!", {}) as public, contextlib.AsyncExitStack() as stack:
        held = [await asyncio.open_unix_connection(public) for _ in range(MAX_CONNECTIONS_PER_USER)]
        for _, writer in held:
            stack.callback(writer.close)
        assert await asked(public) == b""
        held[0][1].close()
        while not (answer := await asked(public)):  # until the relay has noticed
            pass
        assert answer == b"stranger!\n"


async def test_open_connections_do_not_keep_the_socket_from_stopping(tmp_path: Path) -> None:
    async with asyncio.timeout(5):
        async with relaying(tmp_path, b"!", {}) as public:
            reader, writer = await asyncio.open_unix_connection(public)
            writer.write(b"?\n")
            await reader.readline()
        assert await reader.read() == b""
        writer.close()


def test_everyone_may_connect_and_only_the_owner_may_replace_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "made" / "agent.sock"
    with bound(path):
        assert path.stat().st_mode & 0o777 == 0o666
        assert path.parent.stat().st_mode & 0o022 == 0
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with bound(path) as listener:
        assert listener.getsockname() == str(path)


def test_the_socket_of_a_live_server_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with bound(path):
        assert refusal(path) is Reason.DEV_SOCKET
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_but_a_socket_is_replaced(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "agent.sock", tmp_path / "precious"
    other.write_text("precious")
    if kind == "link":
        path.symlink_to(other)
    else:
        path.write_text("precious")
    assert refusal(path) is Reason.DEV_SOCKET
    assert path.read_text() == "precious"


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 107)) is Reason.DEV_SOCKET


def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as successor:
        with bound(path):
            path.rename(tmp_path / "away")
            successor.bind(str(path))
        assert path.exists()


def refusal(path: Path) -> Reason:
    with pytest.raises(Refused) as refused, bound(path):
        pass
    return refused.value.reason
