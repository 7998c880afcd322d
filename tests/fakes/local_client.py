"""A local workload as a process of its own, of any user: it calls through the egress of a node.

    async with local_client(egress, uid=1001) as planner:
        answer = await planner.ask(call("echo", text="hi"))     # on one connection, kept for the next
        planner.pid                                             # which process the agent will name

Run as a program, this file is that process. It becomes the user itself, once everything is loaded: another
user may not be able to read the interpreter.
"""

import asyncio
import base64
import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spiffe_mcp.http import Request
    from tests.fakes.mcp_client import Answer


class LocalClient:
    """The process, seen from the test."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self._process = process
        self.pid = pid

    async def hand_on(self) -> "LocalClient":
        """A child of the process takes over from it: its connection, and the test's questions."""
        return LocalClient(self._process, (await self._told({"hand on": True}))["pid"])

    async def ask(self, request: "Request") -> "Answer":
        """The answer; raises ConnectionError if the connection was cut. The next call opens a new one."""
        from tests.fakes.mcp_client import Answer  # noqa: PLC0415  the program has no use for the project

        headers = [[name.decode(), value.decode()] for name, value in request.headers if name != b"host"]
        asked = {"target": request.target.decode(), "headers": headers, "body": request.body.decode()}
        answered = await self._told(asked)
        if "error" in answered:
            raise ConnectionError(answered["error"])
        return Answer(answered["status"], (), base64.b64decode(answered["body"]))

    async def connect(self) -> None:
        """Connect, and say nothing yet."""
        assert await self._told({"connect": True}) == {"connected": True}

    async def cut(self) -> None:
        """Return when the egress has ended the connection."""
        assert await self._told({"wait": True}) == {"cut": True}

    async def leave(self) -> None:
        """End the process, and its number with it."""
        os.kill(self.pid, signal.SIGKILL)
        if self.pid == self._process.pid:
            await self._process.wait()

    async def _told(self, asked: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)


@asynccontextmanager
async def local_client(egress: Path, uid: int, *before: str) -> AsyncIterator[LocalClient]:
    """A process of this user, started by the command `before`, if any; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-I", __file__, str(egress), str(uid)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    if (said := await process.stdout.readline()) != b"ready\n":
        raise AssertionError(f"{said!r}, ended with {await process.wait()}")
    try:
        yield LocalClient(process, process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# -- the program --------------------------------------------------------------------------------------------


class _Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _ask(connection: _Connection, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        connection.request("POST", asked["target"], asked["body"].encode(), dict(asked["headers"]))
        answer = connection.getresponse()
        return {"status": answer.status, "body": base64.b64encode(answer.read()).decode()}
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return {"error": f"{type(error).__name__}: {error}"}


def _wait(connection: _Connection) -> dict[str, Any]:
    try:
        said = connection.sock.recv(1)
    except ConnectionResetError:
        said = b""
    connection.close()
    return {"cut": said == b""}


def main() -> None:
    path, uid = sys.argv[1], int(sys.argv[2])
    "".encode("iso-8859-1"), "".encode("idna")  # loads what HTTP will need
    if uid != os.getuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    connection = _Connection(path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        if "hand on" in asked:
            if os.fork():
                signal.pause()  # alive, and silent
            answered: dict[str, Any] = {"pid": os.getpid()}
        elif "connect" in asked:
            connection.connect()
            answered = {"connected": True}
        else:
            answered = _wait(connection) if "wait" in asked else _ask(connection, asked)
        sys.stdout.write(f"{json.dumps(answered)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
