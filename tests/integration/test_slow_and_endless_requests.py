"""Who says too little, too slowly or too much is cut off in time and in bounds; nobody else waits for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Limits
from spiffe_mcp.http.load import Load
from tests.fakes.mcp_client import call
from tests.fakes.mesh import PLANNER, Mesh, running_mesh
from tests.fakes.raw_http import SIDES, Raw, chunked, head_of, plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ_TIMEOUT: Final = 0.4  # seconds, in place of thirty
PATIENCE: Final = 10.0  # seconds in which what is to be cut has been cut, on a busy machine
MEBIBYTE: Final = 1024 * 1024
LOGS: Final = {"egress": "planner", "ingress": "ingress"}


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


async def serves(mesh: Mesh) -> None:
    async with asyncio.timeout(PATIENCE):
        assert (await mesh.planner.ask(call("echo", text="as ever"))).text == "as ever"


# -- slow ---------------------------------------------------------------------------------------------------

REQUEST: Final = call("echo", text="slow")
HEAD: Final = head_of(REQUEST)
FRAMED: Final = HEAD + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
# What is said at once, and what is then said byte by byte.
SLOW: Final[dict[str, tuple[bytes, bytes]]] = {
    "a method": (b"", plain(REQUEST)),
    "a header": (HEAD + b"\r\nX: ", b"y" * 1000),
    "headers": (HEAD, b"\r\nX: y" * 1000),
    "a head without its end": (HEAD, b""),
    "a body": (plain(REQUEST)[: -len(REQUEST.body)], REQUEST.body),
    "a body without its end": (plain(REQUEST)[:-1], b""),
    "chunks": (FRAMED, b"".join(b"1\r\n%c\r\n" % octet for octet in REQUEST.body)),
    "a chunk extension": (FRAMED + b"1;", b"x" * 1000),
    "an end of chunks": (FRAMED + chunked(REQUEST.body)[:-2], b""),
    "a trailer": (FRAMED + chunked(REQUEST.body)[:-2] + b"X: ", b"y" * 1000),
}


async def drip(raw: Raw, drops: bytes) -> None:
    """Say them one by one, for as long as somebody listens."""
    for drop in drops:
        if raw.is_closed:
            return
        raw.say(bytes((drop,)))
        await asyncio.sleep(0.01)  # slowness is time


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("at_once", "drops"), SLOW.values(), ids=SLOW)
async def test_a_request_that_comes_too_slowly_is_cut_off(
    hasty: Mesh, side: str, at_once: bytes, drops: bytes
) -> None:
    with hasty.server.untouched():
        async with SIDES[side](hasty) as raw, asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            raw.say(at_once)
            tasks.create_task(drip(raw, drops))
            await raw.closed()
            assert raw.statuses == [408]
    assert hasty.log(LOGS[side]).last()["reason"] == Reason.HTTP_TIMEOUT.code
    await serves(hasty)


@pytest.mark.parametrize("side", SIDES)
async def test_many_slow_ones_keep_nobody_waiting(hasty: Mesh, side: str) -> None:
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:

        async def slowly() -> None:
            async with SIDES[side](hasty) as raw:
                raw.say(HEAD)
                await raw.closed()

        for _ in range(100):
            tasks.create_task(slowly())
        for _ in range(5):
            await serves(hasty)


# -- endless ------------------------------------------------------------------------------------------------

ENDLESS: Final[dict[str, tuple[bytes, bytes, Reason]]] = {
    "a method": (b"", b"POST" * 16384, Reason.HTTP_MALFORMED),
    "a target": (b"POST /", b"x" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "a header": (HEAD + b"\r\nX: ", b"y" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "a name of a header": (HEAD + b"\r\n", b"y" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "headers": (HEAD, b"\r\nX: y" * 8192, Reason.HTTP_HEAD_TOO_LARGE),
    "headers of one byte": (HEAD, b"\r\nX:" * 16384, Reason.HTTP_HEAD_TOO_LARGE),
    "a chunk extension": (FRAMED + b"1;", b"x" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "chunk extensions": (FRAMED, (b"1;" + b"x" * 65000 + b"\r\na\r\n"), Reason.HTTP_HEAD_TOO_LARGE),
    "zeros of a chunk size": (FRAMED, b"0" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "a trailer": (FRAMED + b"0\r\nX: ", b"y" * 65536, Reason.HTTP_HEAD_TOO_LARGE),
    "trailers": (FRAMED + b"0\r\n", b"X: y\r\n" * 8192, Reason.HTTP_FRAMING),
    "a body in chunks": (FRAMED, b"10000\r\n" + b"x" * 65536 + b"\r\n", Reason.HTTP_BODY_TOO_LARGE),
    "a body in small chunks": (FRAMED, (b"40\r\n" + b"x" * 64 + b"\r\n") * 2048, Reason.HTTP_BODY_TOO_LARGE),
    "a body of 2^40 bytes": (
        HEAD + b"\r\nContent-Length: 1099511627776\r\n\r\n",
        b"x" * 65536,
        Reason.HTTP_BODY_TOO_LARGE,
    ),
}


async def pour(raw: Raw, pieces: Iterator[bytes]) -> int:
    """Say them until nobody listens; how many bytes that took."""
    said = 0
    for piece in pieces:
        if raw.is_closed:
            break
        raw.say(piece)
        said += len(piece)
        await raw.drained()
        await asyncio.sleep(0)
    return said


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("beginning", "piece", "reason"), ENDLESS.values(), ids=ENDLESS)
async def test_a_request_without_an_end_is_cut_off(
    hasty: Mesh, side: str, beginning: bytes, piece: bytes, reason: Reason
) -> None:
    with hasty.server.untouched():
        async with SIDES[side](hasty) as raw, asyncio.timeout(2 * PATIENCE):
            raw.say(beginning)
            said = await pour(raw, repeat(piece))
    assert hasty.log(LOGS[side]).last()["reason"] == reason.code
    # What is read after a refusal is thrown away, for as long as the refused has to read why.
    assert said < 4096 * MEBIBYTE
    await serves(hasty)
