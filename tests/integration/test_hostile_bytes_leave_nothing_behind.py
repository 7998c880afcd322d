"""Thousands of requests and answers that are nearly right, on the wires of two agents that run.

Whatever comes of each: nobody waits for ever, only calls that were authorised reach the server, every log is
a chain, and when all is over the agents have no connection, no task and no file more than before. `INPUTS`
sends more.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest
import pytest_asyncio

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Limits, Reply
from spiffe_mcp.http.load import Load
from spiffe_mcp.mcp import parse
from tests.fakes.mcp_client import Answer, call, legacy, modern
from tests.fakes.mcp_server import Message, echo
from tests.fakes.mesh import PLANNER, Mesh, running_mesh
from tests.fakes.raw_http import SIDES, plain
from tests.fakes.wire_targets import ANSWERS, HTTP_PIECES, in_pieces, mutated, stream

pytestmark = pytest.mark.asyncio(loop_scope="module")

INPUTS: Final = int(os.environ.get("INPUTS", "400"))
TOGETHER: Final = 16
PATIENCE: Final = 20.0  # seconds: nobody waits longer
READ_TIMEOUT: Final = 0.3
MAY_BE_CALLED: Final = {"echo", "changed"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(module_folder: Path) -> AsyncIterator[Mesh]:
    """A mesh whose agents wait less long for a request."""
    patch, opened = pytest.MonkeyPatch(), Load.__init__

    def with_less_patience(self: Load, limits: Limits) -> None:
        opened(self, replace(limits, read_timeout=READ_TIMEOUT, linger_timeout=READ_TIMEOUT))

    patch.setattr(Load, "__init__", with_less_patience)
    async with running_mesh(module_folder, egresses=(PLANNER,)) as mesh:
        patch.undo()
        yield mesh


def trace() -> tuple[int, int]:
    """Tasks of this loop, and files of this process: both agents are in it, with client and server."""
    return len(asyncio.all_tasks()), len([*Path("/proc/self/fd").iterdir()])


async def warm(mesh: Mesh) -> tuple[int, int]:
    """What there is once every pool holds as many connections as calls are made together."""
    arrived = asyncio.Barrier(TOGETHER)

    async def at_once(message: Message, reply: Reply) -> None:
        await arrived.wait()
        await echo(message, reply)

    with mesh.server.answering(at_once):
        await asyncio.gather(*(mesh.planner.ask(call("echo", text="warm")) for _ in range(TOGETHER)))
    return trace()


async def settled(before: tuple[int, int]) -> None:
    """Return once nothing is left of what came; fails if something is."""
    async with asyncio.timeout(PATIENCE):
        # What was cut is gone after the loop has turned; and no event says so for all of it.
        while any(now > then + 4 for now, then in zip(trace(), before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def check(mesh: Mesh, before: int) -> None:
    """Only what was authorised has reached the server, and all of it is recorded."""
    for request in mesh.server.requests[before:]:
        message = parse(request.body) if request.body else None
        if message is not None and getattr(message, "method", "") == "tools/call":
            assert json.loads(request.body)["params"]["name"] in MAY_BE_CALLED
        names = [name for name, _ in request.headers]
        assert b"mesh-user-context" not in names
        assert names.count(b"host") == 1
    for side in ("ingress", "planner"):
        assert mesh.log(side).report().intact


async def together(inputs: range, mesh: Mesh, one: object) -> None:
    assert callable(one)
    for first in range(inputs.start, inputs.stop, TOGETHER):
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            for seed in range(first, min(first + TOGETHER, inputs.stop)):
                tasks.create_task(one(mesh, seed))


async def a_hostile_request(mesh: Mesh, seed: int) -> None:
    random = Random(seed)  # noqa: S311  to be repeated, not to be secret
    side = random.choice([*SIDES])
    params = {"name": "pay", "arguments": {}}
    request = random.choice(
        [call("echo", text="x"), call("hidden"), modern("tools/list"), legacy("tools/call", params)]
    )
    signed = mesh.hop().signed(request) if side == "ingress" else request
    data = mutated(random, plain(signed) * random.choice((1, 1, 2)), HTTP_PIECES)
    async with SIDES[side](mesh) as raw:
        for piece in in_pieces(random, data):
            raw.say(piece)
            await asyncio.sleep(0)
        if random.random() < 0.5:
            raw.leave()
            return
        raw.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await raw.closed()
        assert 500 not in raw.statuses, data


async def test_nearly_right_requests(hasty: Mesh) -> None:
    before, seen = await warm(hasty), len(hasty.server.requests)
    await together(range(INPUTS), hasty, a_hostile_request)
    check(hasty, seen)
    await settled(before)
    assert (await hasty.planner.ask(call("echo", text="after"))).text == "after"


async def test_nearly_right_answers(hasty: Mesh) -> None:
    async def lies(message: Message, reply: Reply) -> None:
        random = Random(str(message["params"]["arguments"]["text"]))  # noqa: S311  as above
        events = random.random() < 0.5
        body = stream(random) if events else random.choice(ANSWERS)
        kind = b"text/event-stream" if events else b"application/json"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
        for piece in in_pieces(random, mutated(random, head + body, HTTP_PIECES)):
            reply._transport.write(piece)
            await asyncio.sleep(0)
        reply.started = reply.finished = True
        reply.keep_alive = random.random() < 0.5
        if not reply.keep_alive:
            reply._transport.close()
        elif random.random() < 0.5:
            reply._transport.abort()

    async def asks(mesh: Mesh, seed: int) -> None:
        try:
            async with asyncio.timeout(1.0):  # who says that more comes, and says nothing, is waited for
                answer = await mesh.planner.ask(call("echo", text=str(seed)))
        except (Refused, TimeoutError):
            return  # cut, which is a good end
        understood(answer)

    before, seen = await warm(hasty), len(hasty.server.requests)
    with hasty.server.answering(lies):
        await together(range(INPUTS), hasty, asks)
    check(hasty, seen)
    await settled(before)
    assert (await hasty.planner.ask(call("echo", text="after"))).text == "after"


def understood(answer: Answer) -> None:
    """It is one message, and no answer to anybody else's call."""
    if dict(answer.headers).get(b"content-type", b"").startswith(b"application/json"):
        message = parse(answer.body)
        assert getattr(message, "id", None) in (1, None)
    assert b"smuggled" not in answer.body or b"data" not in answer.body
