"""For any bytes, however they are cut: the parsers refuse or understand, and never anything else."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Request, ResponseHead
from spiffe_mcp.http.messages import encode_head, encode_request
from tests.fakes.memory_http import cut, receive, serve

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
