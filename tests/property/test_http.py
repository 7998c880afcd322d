"""For any bytes, however they are cut: the parsers refuse or understand, and never anything else."""

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, ResponseHead
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.http.messages import encode_head, encode_request

LIMITS = Limits(head=512, body=256)


class MemoryTransport(asyncio.Transport):
    """A transport without a wire: it keeps what is written, and knows whether it was closed."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self._protocol = protocol
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Service:
    """Answers everything, and remembers it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reasons: list[Reason] = []

    async def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        await reply.send(ResponseHead(200, ()), b"")

    def rejected(self, refused: Refused) -> None:
        self.reasons.append(refused.reason)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def serve(pieces: list[bytes]) -> tuple[list[Request], list[Reason], bytes]:
    service = Service()
    async with asyncio.TaskGroup() as tasks:
        connection = HttpServer(tasks, LIMITS).connection(service)
        transport = MemoryTransport(connection)
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.is_closing():
                connection.data_received(piece)
            await asyncio.sleep(0)
        await settle()
        transport.close()
        await settle()
    return service.requests, service.reasons, bytes(transport.written)


async def receive(pieces: list[bytes]) -> bytes | Reason:
    connection = ClientConnection()
    transport = MemoryTransport(connection)
    connection.connection_made(transport)

    async def peer() -> None:
        await asyncio.sleep(0)
        for piece in pieces:
            if not transport.is_closing():
                connection.data_received(piece)
            await asyncio.sleep(0)
        transport.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(peer())
        try:
            head = await connection.exchange(Request(b"GET", b"/", ()))
            body = b""
            while chunk := await connection.read():
                body += chunk
        except Refused as refused:
            return refused.reason
    return b"%d %s" % (head.status, body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


FRAGMENTS = [
    b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"GET * HTTP/1.0\r\n",
    b"Host: x\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"\r\n", b"\n", b"\r", b"\0", b":",
    b" ", b";", b"-", b"x" * 600,
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 101 S\r\n\r\n",
]  # fmt: skip
streams = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=12).map(b"".join)
cuts = st.lists(st.integers(0, 4096), max_size=8)


@given(streams, cuts)
def test_a_server_sees_the_same_however_the_bytes_are_cut(data: bytes, places: list[int]) -> None:
    requests, reasons, _ = asyncio.run(serve([data]))
    again, reasons_again, _ = asyncio.run(serve(cut(data, places)))
    assert again == requests
    assert len(reasons) == len(reasons_again) <= 1  # which of two faults is seen first may differ


@given(streams, cuts)
def test_a_server_answers_each_request_once_and_a_refusal_last(data: bytes, places: list[int]) -> None:
    requests, reasons, written = asyncio.run(serve(cut(data, places)))
    answers = written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers[: len(requests)]] == [b"200"] * len(requests)
    assert len(answers) - len(requests) in ({0, 1} if reasons else {0})


@given(streams, cuts)
def test_a_client_reads_the_same_however_the_bytes_are_cut(data: bytes, places: list[int]) -> None:
    whole, pieces = asyncio.run(receive([data])), asyncio.run(receive(cut(data, places)))
    assert whole == pieces
    assert isinstance(whole, bytes) or whole is Reason.UPSTREAM_BROKEN


tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(str.encode)
field_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(str.encode)
ours = {b"content-length", b"host", b"connection", b"expect", b"te", b"trailer", b"upgrade"}
headers = st.lists(st.tuples(tokens.filter(lambda name: name not in ours), field_values), max_size=5).map(
    tuple
)


@given(st.sampled_from([b"GET", b"POST", b"DELETE"]), tokens, headers, st.binary(max_size=200), cuts)
def test_what_the_client_writes_the_server_reads(
    method: bytes, path: bytes, extra: Any, body: bytes, places: list[int]
) -> None:
    request = Request(method, b"/" + path, ((b"host", b"x"), *extra), body)
    (read,), reasons, _ = asyncio.run(serve(cut(encode_request(request), places)))
    assert reasons == []
    assert read == Request(
        method, b"/" + path, (*request.headers, (b"content-length", b"%d" % len(body))), body
    )


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=4))
def test_no_header_can_begin_another_line(pairs: list[tuple[bytes, bytes]]) -> None:
    try:
        block = encode_head(ResponseHead(200, tuple(pairs)))
    except ValueError:
        return
    assert len(block.split(b"\r\n")) <= len(pairs) + 3
    assert block.count(b"\n") == block.count(b"\r\n") == block.count(b"\r")
