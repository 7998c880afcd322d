"""A bridge before the program of `tests/fakes/stdio_program.py`, and clients of it that speak HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from spiffe_mcp.http import Headers, HttpClient, Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.mesh.stdio.program import Program
from spiffe_mcp.mesh.stdio.serving import bridging
from spiffe_mcp.mesh.targets import UnixUpstream
from spiffe_mcp.mesh.upstream.connect import connector
from tests.fakes import stdio_program

T = TypeVar("T")

MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream"


def program(*arguments: str, **members: Any) -> Program:
    """The program, with such arguments."""
    return Program((sys.executable, stdio_program.__file__, *arguments), **members)


@dataclass
class Said:
    """One HTTP answer."""

    status: int
    headers: Headers
    body: bytes

    @property
    def kind(self) -> bytes:
        return values(self.headers, b"content-type")[0]

    @property
    def session(self) -> bytes:
        (named,) = values(self.headers, b"mcp-session-id")
        return named

    @property
    def messages(self) -> list[Any]:
        if self.kind == JSON:
            return [json.loads(self.body)]
        events = self.body.decode().split("\n\n")
        return [json.loads(event.partition("data: ")[2]) for event in events if event]

    @property
    def last(self) -> Any:
        return self.messages[-1]

    @property
    def text(self) -> str:
        text: str = self.last["result"]["content"][0]["text"]
        return text

    @property
    def reason(self) -> str:
        reason: str = self.last["error"]["data"]["reason"]
        return reason


@dataclass
class Client:
    """One who speaks to the bridge."""

    target: UnixUpstream
    http: HttpClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = HttpClient(connector(self.target))

    async def send(self, method: bytes, body: bytes = b"", session: bytes | None = None) -> Said:
        async with await self.http.send(self.request(method, body, session)) as response:
            return Said(response.head.status, response.head.headers, await response.body(64 * 1024 * 1024))

    def request(self, method: bytes, body: bytes, session: bytes | None = None) -> Request:
        named = () if session is None else ((b"mcp-session-id", session),)
        headers = ((b"host", self.target.host), (b"content-type", JSON), *named)
        return Request(method, self.target.path.encode(), headers, body)

    async def say(self, message: Any, session: bytes | None = None) -> Said:
        return await self.send(b"POST", json.dumps({"jsonrpc": "2.0", **message}).encode(), session)

    async def modern(self, text: str, message_id: Any = 1, **meta: Any) -> Said:
        """A `tools/call` of 2026-07-28."""
        return await self.say(modern(text, message_id, **meta))

    async def initialize(self, message_id: Any = 0) -> Said:
        said = await self.say(initialize(message_id))
        if said.status == 200 and "result" in said.last:
            initialized = {"method": "notifications/initialized"}
            assert (await self.say(initialized, said.session)).status == 202
        return said

    async def legacy(self, text: str, session: bytes | None, message_id: Any = 1, **meta: Any) -> Said:
        """A `tools/call` of 2025-11-25."""
        return await self.say(legacy(text, message_id, **meta), session)


def modern(text: str, message_id: Any = 1, **meta: Any) -> dict[str, Any]:
    params = {"name": "echo", "arguments": {"text": text}, "_meta": {**MODERN, **meta}}
    return {"id": message_id, "method": "tools/call", "params": params}


def legacy(text: str, message_id: Any = 1, **meta: Any) -> dict[str, Any]:
    params = {"name": "echo", "arguments": {"text": text}, **({"_meta": meta} if meta else {})}
    return {"id": message_id, "method": "tools/call", "params": params}


def initialize(message_id: Any = 0) -> dict[str, Any]:
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    return {"id": message_id, "method": "initialize", "params": params}


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


@asynccontextmanager
async def bridge(folder: Path, started: Program, **environment: str) -> AsyncIterator[Client]:
    """A client of a bridge before `started`; no process of it is left when this returns."""
    ids = count(1)
    own = {"PATH": "/usr/bin:/bin", **environment}
    socket = folder / "bridge.sock"
    async with bridging("desk", started, socket, own, lambda: b"id-%d" % next(ids)) as target:
        client = Client(target)
        try:
            yield client
        finally:
            client.http.retire()
    assert not socket.exists()


async def until(happened: Any) -> None:
    """Return once `happened()` is true; a test that waits for ever is ended by its own limit."""
    while not happened():  # noqa: ASYNC110  of another process, which sets no event here
        await asyncio.sleep(0.005)


def soon(running: Awaitable[T]) -> "asyncio.Future[T]":
    """What runs beside the test; it is awaited in it."""
    return asyncio.ensure_future(running)  # noqa: TID251


def running(pid: int) -> bool:
    """Whether a process of this number runs; a zombie does not."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False
