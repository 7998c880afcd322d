"""The client against a peer that says exactly what the test says: ends, cuts and back-pressure."""

import asyncio
import socket

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, Reply, Request, Response
from spiffe_mcp.http.client import ClientConnection
from tests.unit.http.peers import GET, fetch, refusal, says, scripted, served
from tests.unit.http.serving import OK, echo, serving, until

# -- whole and broken answers ----------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "chunks and a trailer": CHUNKED.replace(b"chunked", b"Chunked") + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "the end of the connection": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "an interim answer first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
async def test_a_whole_answer_is_whole(data: bytes) -> None:
    async with scripted(says(data)) as peer, await peer.client.send(GET) as response:
        assert response.head.status == 200
        assert b"link" not in dict(response.head.headers)
        assert await response.body(5) == b"hello"


BROKEN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a body cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
    "chunks cut in a chunk": CHUNKED + b"6\r\nhello",
    "chunks cut between chunks": CHUNKED + b"5\r\nhello\r\n",
    "chunks cut before the last line": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "only an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 103 Early\r\n\r\n" * 5000,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "a foreign coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a large head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9000 + b"\r\n",
    "a line without an end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1_000_000,
    "a chunk extension without an end": CHUNKED + b"5;" + b"x" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_refused_and_never_taken_for_whole(data: bytes) -> None:
    async with scripted(says(data)) as peer:
        assert (await refusal(fetch(peer.client))).reason is Reason.UPSTREAM_BROKEN
        assert not peer.connections[0].reusable


async def test_what_came_before_a_cut_is_read_and_then_the_cut_is_told() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"
    async with scripted(says(data)) as peer, await peer.client.send(GET) as response:
        assert await anext(aiter(response)) == b"hello"
        assert (await refusal(response.body(100))).reason is Reason.UPSTREAM_BROKEN


async def test_a_reset_is_no_end_of_a_body() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await reader.readexactly(1)
        linger = b"\x01\0\0\0\0\0\0\0"  # on, 0 seconds: close() sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async with scripted(reset) as peer, await peer.client.send(GET) as response:
        peer.connections[0]._transport.write(b"!")
        assert (await refusal(response.body(100))).reason is Reason.UPSTREAM_BROKEN


async def test_an_answer_longer_than_its_reader_wants_is_refused() -> None:
    async with scripted(says(WHOLE["a length"])) as peer, await peer.client.send(GET) as response:
        assert (await refusal(response.body(4))).reason is Reason.UPSTREAM_BROKEN


FIRST = {
    "by length": b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    "in chunks": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}
EXTRA = {
    "an answer by length": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "an answer without end": b"HTTP/1.1 200 OK\r\n\r\nevil",
    "garbage": b"evil",
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
async def test_bytes_after_an_answer_are_neither_its_body_nor_the_next_answer(
    first: bytes, extra: bytes
) -> None:
    data = first + extra
    async with scripted(says(data, stay=True)) as peer:
        async with await peer.client.send(GET) as response:
            assert response.head.status == 201
            assert await response.body(100) == b"ok"
        assert not peer.connections[0].reusable
        assert await fetch(peer.client) == b"ok"
        assert len(peer.connections) == 2


async def test_bytes_that_answer_no_request_end_an_idle_connection() -> None:
    spoken = asyncio.Event()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE["a length"])
        await spoken.wait()
        writer.write(WHOLE["a length"])
        await reader.read()

    async with scripted(early) as peer:
        await fetch(peer.client)
        spoken.set()
        await until(lambda: peer.connections[0]._lost)


@pytest.mark.parametrize("method", [b"HEAD", b"CONNECT"])
async def test_methods_whose_answers_end_elsewhere_are_not_sent(method: bytes) -> None:
    async with scripted(says(WHOLE["a length"])) as peer:
        with pytest.raises(ValueError, match=method.decode()):
            await peer.client.send(Request(method, b"/", ()))


@pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a\nb", b"c"), (b"a", b"\0")])
async def test_a_header_that_would_be_two_is_not_sent(header: tuple[bytes, bytes]) -> None:
    async with scripted(says(WHOLE["a length"])) as peer:
        with pytest.raises(ValueError, match="line break"):
            await peer.client.send(Request(b"GET", b"/", (header,)))


async def test_the_request_carries_one_length_and_it_is_ours() -> None:
    async with serving(echo) as running, served(running) as peer:
        headers = (
            (b"host", b"x"),
            (b"content-length", b"99"),
            (b"transfer-encoding", b"chunked"),
            (b"a", b"b"),
        )
        assert await fetch(peer.client, Request(b"POST", b"/", headers, b"hi")) == b"POST / hi"
        assert running.service.requests[0].headers == (
            (b"host", b"x"), (b"a", b"b"), (b"content-length", b"2"),
        )  # fmt: skip


# -- leaving, waiting, cancelling ------------------------------------------------------------------------


async def test_leaving_an_answer_early_cuts_its_connection_and_stops_the_peer() -> None:
    stopped = asyncio.Event()

    async def forever(request: Request, reply: Reply) -> None:
        await reply.start(OK)
        await reply.write(b"first")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with serving(forever) as running, served(running) as peer:
        async with await peer.client.send(GET) as response:
            async for chunk in response:
                assert chunk == b"first"
                break
        await stopped.wait()
        assert not peer.connections[0].reusable


async def test_an_answer_that_arrived_unread_is_not_part_of_the_next_one() -> None:
    async with serving() as running, served(running) as peer:
        async with await peer.client.send(GET):
            await until(lambda: peer.connections[0]._complete)
        assert await fetch(peer.client, Request(b"GET", b"/2", ((b"host", b"x"),))) == b"GET /2 "
        assert len(peer.connections) == 1


async def test_a_response_that_was_left_cannot_read_another_s_body() -> None:
    async with serving() as running, served(running) as peer:
        async with await peer.client.send(GET) as first:
            pass
        async with await peer.client.send(GET) as second:
            with pytest.raises(RuntimeError, match="left"):
                await first.body(100)
            await first.__aexit__(None, None, None)  # leaving twice gives nothing back twice
            assert not peer.client._idle
            assert await second.body(100) == b"GET / "


async def test_a_slow_reader_pauses_the_peer() -> None:
    written = 0

    async def flood(request: Request, reply: Reply) -> None:
        nonlocal written
        await reply.start(OK)
        for _ in range(1024):
            await reply.write(b"x" * 65536)
            written += 65536
        reply.finish()

    async with serving(flood) as running, served(running) as peer:
        async with await peer.client.send(GET) as response:
            await until(lambda: not running.connections[0]._gate._open)
            assert written < 32 * 1024 * 1024
            await until(lambda: peer.connections[0]._paused)
            assert peer.connections[0]._buffered < 1024 * 1024
            length = 0
            async for chunk in response:
                length += len(chunk)
                assert peer.connections[0]._buffered < 1024 * 1024
        assert length == 1024 * 65536
        assert await asyncio.wait_for(_first_byte(peer.client), 5) == b"x"


async def _first_byte(client: HttpClient) -> bytes:
    async with await client.send(GET) as response:
        async for chunk in response:
            return chunk[:1]
    return b""


async def test_cancelling_a_request_leaves_no_connection_half_used() -> None:
    begun = asyncio.Event()

    async def never(request: Request, reply: Reply) -> None:
        if request.target == b"/never":
            begun.set()
            await asyncio.Event().wait()
        await reply.send(OK, b"ok")

    async with serving(never) as running, served(running) as peer:
        await fetch(peer.client)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(fetch(peer.client, Request(b"GET", b"/never", ((b"host", b"x"),))))
            await begun.wait()
            waiting.cancel()
        assert len(peer.connections) == 1
        assert not peer.connections[0].reusable
        assert await fetch(peer.client) == b"ok"
        assert len(peer.connections) == 2


async def test_cancelling_in_the_middle_of_a_body_cuts_the_connection() -> None:
    async def half(request: Request, reply: Reply) -> None:
        await reply.start(OK)
        await reply.write(b"half")
        await asyncio.Event().wait()

    async def read(response: Response, got: asyncio.Event) -> None:
        async with response:
            async for _ in response:
                got.set()

    async with serving(half) as running, served(running) as peer:
        got = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read(await peer.client.send(GET), got))
            await got.wait()
            reading.cancel()
        await running.all_gone()
        assert not peer.client._idle


async def test_whoever_reads_on_while_this_side_cuts_learns_of_the_cut() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nhello"  # ends with the connection: a cut must not pass for the end
    async with scripted(says(data, stay=True)) as peer, await peer.client.send(GET) as response:
        peer.connections[0].abort()
        assert (await refusal(response.body(100))).detail == "cut by this side"


async def test_why_the_transport_ended_is_told_to_whoever_sends_next() -> None:
    """A server's refusal of our certificate can arrive before the first request is written."""

    async def connect() -> ClientConnection:
        connection = ClientConnection()
        connection.connection_made(asyncio.Transport())
        connection.connection_lost(Refused(Reason.TLS_HANDSHAKE, "alert"))
        return connection

    assert (await refusal(HttpClient(connect).send(GET))).reason is Reason.TLS_HANDSHAKE
