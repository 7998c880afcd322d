"""Every connection is served, a few at a time; and nothing that goes wrong with one ends the others."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from spiffe_mcp.mesh import accepting as accepting_module
from spiffe_mcp.mesh.accepting import BURST, accepting


class Greeting(asyncio.Protocol):
    """Says hello and hangs up."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


@asynccontextmanager
async def served(accept: Callable[[], asyncio.Protocol] = Greeting) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)  # noqa: FBT003  its one argument
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(accepting(listener, accept))
            yield listener.getsockname()[1]
            serving.cancel()


async def heard(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_many_that_come_together_are_all_served() -> None:
    async with served() as port, asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(heard(port)) for _ in range(10 * BURST)]
    assert [task.result() for task in asking] == [b"hello"] * 10 * BURST


async def test_no_more_than_a_burst_is_taken_before_the_loop_turns() -> None:
    """What was taken has had its say, and others have given way, before more come."""
    made: list[int] = [0]

    def accept() -> asyncio.Protocol:
        made[-1] += 1
        return Greeting()

    async with served(accept) as port:
        at = ("127.0.0.1", port)
        waiting = [socket.create_connection(at) for _ in range(4 * BURST)]  # the kernel takes them all
        while sum(made) < len(waiting):
            await asyncio.sleep(0)
            made.append(0)
        for connection in waiting:
            connection.close()
    assert max(made) <= BURST


class Listener:
    """A socket that fails as the test says, and then is the one it stands for."""

    def __init__(self, failures: list[int]) -> None:
        self.failures = failures

    def __call__(self, original: Callable[[socket.socket], Any]) -> Callable[[socket.socket], Any]:
        async def sock_accept(listener: socket.socket) -> Any:
            if self.failures:
                raise OSError(self.failures.pop(), "as the test wants it")
            return await original(listener)

        return sock_accept


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED])
async def test_an_error_of_accepting_does_not_end_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting_module, "PAUSE", 0.0)
    failures = [number] * 3
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "sock_accept", Listener(failures)(loop.sock_accept))
    async with served() as port:
        assert await heard(port) == b"hello"
    assert failures == []


async def test_a_fault_in_one_connection_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    faults = [ZeroDivisionError("a fault")]

    def accept() -> asyncio.Protocol:
        if faults:
            raise faults.pop()
        return Greeting()

    async with served(accept) as port:
        assert await heard(port) == b""
        assert await heard(port) == b"hello"
    assert "a connection could not be served" in caplog.text
