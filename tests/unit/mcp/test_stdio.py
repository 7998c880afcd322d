"""Lines come out whole, whatever pieces they came in; and a message is one line, whatever it looked like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.stdio import LineDecoder, encode_line

STREAMS = [
    pytest.param(b'{"a":1}\n', [b'{"a":1}'], id="LF"),
    pytest.param(b'{"a":1}\r\n', [b'{"a":1}'], id="CRLF"),
    pytest.param(b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="two"),
    pytest.param(b'\n \t\r\n{"a":1}\n\n', [b'{"a":1}'], id="blank lines"),
    pytest.param(b'{"a":1}\r{"b":2}\n', [b'{"a":1}\r{"b":2}'], id="a CR alone ends nothing"),
    pytest.param(
        '"\u2028\x85"\n'.encode(), ['"\u2028\x85"'.encode()], id="nor does what Unicode calls a line"
    ),
    pytest.param(b'{"a":1}', [], id="no end"),
    pytest.param(b"", [], id="nothing"),
]


def lines_of(stream: bytes, size: int) -> list[bytes]:
    decoder = LineDecoder(1024)
    return [
        line for start in range(0, len(stream), size) for line in decoder.feed(stream[start : start + size])
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize(("stream", "lines"), STREAMS)
def test_lines_survive_any_cut(stream: bytes, lines: list[bytes], size: int) -> None:
    assert lines_of(stream, size) == lines


@pytest.mark.parametrize("pieces", [[b"123456789"], [b"12345", b"6789"], [b"12\n", b"3456789", b"01"]])
def test_a_line_is_refused_as_soon_as_it_is_too_long(pieces: list[bytes]) -> None:
    decoder = LineDecoder(8)
    for piece in pieces[:-1]:
        decoder.feed(piece)
    with pytest.raises(Refused) as caught:
        decoder.feed(pieces[-1])
    assert caught.value.reason is Reason.MCP_LINE_TOO_LONG


def test_the_bound_is_of_one_line_and_not_of_the_stream() -> None:
    decoder = LineDecoder(8)
    assert decoder.feed(b"12345678\n" * 1000) == [b"12345678"] * 1000


def test_a_cut_line_is_known_as_one() -> None:
    decoder = LineDecoder()
    decoder.feed(b'{"a":1}\n')
    assert not decoder.pending
    decoder.feed(b'{"a"')
    assert decoder.pending


def test_a_message_that_was_printed_over_several_lines_becomes_one() -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": "one\ntwo\r\n"}}
    line = encode_line(json.dumps(message, indent=2).replace("\n", "\r\n").encode())
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\r" not in line
    assert json.loads(line) == message


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists), st.integers(1, 9))
def test_what_is_encoded_is_decoded_again(value: object, size: int) -> None:
    message = json.dumps(value, ensure_ascii=False, indent=1).encode()
    decoded = lines_of(encode_line(message) * 2, size) if len(message) < 1024 else [encode_line(message)] * 2
    assert [json.loads(line) for line in decoded] == [value, value]
