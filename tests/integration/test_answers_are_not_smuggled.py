"""Whatever an MCP server writes, its answer reaches its own caller or nobody, and the next is the next one.

The server answers one call with bytes that some reader would take for another number of answers, one of them
saying `poison`. Then others call, on the connections that are left. Nobody ever reads `poison` but the caller
whose own answer it is.
"""

import asyncio
from typing import Final

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Reply
from tests.fakes.mcp_client import Answer, Plain, call
from tests.fakes.mcp_server import Message, result_of
from tests.fakes.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TE: Final = b"Transfer-Encoding: chunked\r\n"
# In each, BODY stands for the answer to the call, LENGTH and SIZE for its length, POISON for a whole answer
# to another call.
ANSWERS: Final[dict[str, bytes]] = {
    "a second answer behind it": OK + b"Content-Length: LENGTH\r\n\r\nBODYPOISON",
    "a second answer behind chunks": OK + TE + b"\r\nSIZE\r\nBODY\r\n0\r\n\r\nPOISON",
    "a length too short": OK + b"Content-Length: 9\r\n\r\nBODYPOISON",
    "a length of 0": OK + b"Content-Length: 0\r\n\r\nBODYPOISON",
    "a length and chunks": OK + b"Content-Length: LENGTH\r\n" + TE + b"\r\nSIZE\r\nBODY\r\n0\r\n\r\nPOISON",
    "two lengths": OK + b"Content-Length: LENGTH\r\nContent-Length: 0\r\n\r\nBODYPOISON",
    "a list of lengths": OK + b"Content-Length: LENGTH, LENGTH\r\n\r\nBODYPOISON",
    "a foreign coding": OK + b"Transfer-Encoding: gzip\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "identity and chunked": OK
    + b"Transfer-Encoding: identity, chunked\r\n\r\nSIZE\r\nBODY\r\n0\r\n\r\nPOISON",
    "chunks cut by an answer": OK + TE + b"\r\nSIZE\r\nBODY\r\nPOISON",
    "a chunk size beyond 64 bits": OK + TE + b"\r\n10000000000000000SIZE\r\nBODY\r\n0\r\n\r\nPOISON",
    "a chunk size ended by LF": OK + TE + b"\r\nSIZE\nBODY\r\n0\r\n\r\nPOISON",
    "a trailer that is an answer": OK + TE + b"\r\nSIZE\r\nBODY\r\n0\r\nPOISON",
    "204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "100 for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + b"POISON",
    "100, then it": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: LENGTH\r\n\r\nBODYPOISON",
    "103 with a body": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello"
    + OK
    + b"Content-Length: LENGTH\r\n\r\nBODYPOISON",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nPOISON",
    "no status": b"HTTP/1.1 \r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "a status of 99": b"HTTP/1.1 099 Low\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "a status of 1000": b"HTTP/1.1 1000 High\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "no HTTP at all": b"BODYPOISON",
    "a folded length": OK + b"Content-Length:\r\n LENGTH\r\n\r\nBODYPOISON",
    "a bare LF after the head": OK + b"Content-Length: LENGTH\n\nBODYPOISON",
    "a NUL in a header": OK + b"X: a\0b\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "a bare CR in a header": OK + b"X: a\rContent-Length: 0\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
    "an endless head": OK + b"X: " + b"y" * 200_000,
    "two content types": OK + b"Content-Type: text/event-stream\r\nContent-Length: LENGTH\r\n\r\nBODYPOISON",
}


def poison(message_id: int) -> bytes:
    """A whole answer to the call of this ID."""
    body = result_of({"id": message_id}, "poison")
    return OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def written(answer: bytes, message: Message) -> bytes:
    body = result_of(message, "mine")
    filled = answer.replace(b"LENGTH", b"%d" % len(body)).replace(b"SIZE", b"%x" % len(body))
    return filled.replace(b"BODY", body).replace(b"POISON", poison(int(message["id"])))


async def asked(client: Plain) -> Answer | None:
    """The answer; None if it was cut."""
    try:
        return await client.ask(call("echo", text="asking"))
    except Refused:
        return None


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_nobody_reads_an_answer_that_is_not_theirs(mesh: Mesh, answer: bytes) -> None:
    async def lies(message: Message, reply: Reply) -> None:
        reply._transport.write(written(answer, message))
        reply.started = reply.finished = True
        reply.keep_alive = True

    with mesh.server.answering(lies):
        told = await asked(mesh.planner)
    if told is not None:
        assert b"poison" not in told.body
        assert told.status >= 400 or told.text == "mine"
    for client in (mesh.reviewer, mesh.planner, mesh.reviewer):
        assert (await client.ask(call("echo", text="next"))).text == "next"
    assert mesh.log("ingress").report().intact


async def test_an_answer_that_comes_before_it_is_asked_for_is_nobodys(mesh: Mesh) -> None:
    """The server writes into connections that wait in the pool."""
    assert (await mesh.planner.ask(call("echo", text="first"))).text == "first"
    for connection in tuple(mesh.server.http._connections):
        connection._transport.write(poison(1))  # type: ignore[attr-defined]  # the server's own end of it
    for _ in range(5):
        await asyncio.sleep(0)
    for client in (mesh.reviewer, mesh.planner, mesh.planner):
        assert (await client.ask(call("echo", text="next"))).text == "next"
