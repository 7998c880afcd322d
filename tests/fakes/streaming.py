"""Streams that begin and are not answered, on connections of every kind, for tests of how these end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from spiffe_mcp.http import Reply
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mcp_client import Hop, Plain, call
from tests.fakes.mcp_server import STREAM, Message, event
from tests.fakes.mesh import Mesh, running_agent

PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; the test's own timeout bounds it."""
    while not true():  # noqa: ASYNC110  a record in a log has no event for tests
        await asyncio.sleep(0)


async def begun_and_never_answered(message: Message, reply: Reply) -> None:
    """A stream of events that says something, and then nothing more."""
    await reply.start(STREAM)
    await reply.write(event(PROGRESS))
    await asyncio.Event().wait()


def error_in(events: bytes) -> Any:
    """The JSON-RPC error that is the last event of a stream."""
    data = events.replace(b"\r\n", b"\n").strip().split(b"\n\n")[-1].partition(b"data: ")[2]
    return json.loads(data)["error"]


async def rest_of(connection: ClientConnection) -> bytes:
    """All that still comes of an answer; raises `Refused` if it was cut."""
    events = b""
    while chunk := await connection.read():
        events += chunk
    return events


@asynccontextmanager
async def streaming_hop(hop: Hop, tool: str = "echo") -> AsyncIterator[ClientConnection]:
    """A connection straight to the ingress, on which a stream has begun."""
    async with hop.connected() as connection:
        await connection.exchange(hop.signed(call(tool, text="go on")))
        assert await connection.read() == event(PROGRESS)
        yield connection


@asynccontextmanager
async def beside(mesh: Mesh, port: int) -> AsyncIterator[Plain]:
    """A client of an egress that leads to whatever listens at `port`."""
    config = mesh.site.egress_config(mesh.provider.address, f"127.0.0.1:{port}", log="elsewhere")
    async with running_agent(config, mesh.clock) as egress:
        assert isinstance(egress.egress, Address)
        client = Plain(egress.egress)
        yield client
        client.close()
