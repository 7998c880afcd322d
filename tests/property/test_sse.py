"""However a stream is cut, the same events come out, and every byte of them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.mcp.sse import Event, SseDecoder, encode

line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
lines = st.sampled_from(
    [b"", b"", b": c", b":", b"data: x", b"data:", b"data", b"id: 1", b"event: m", b"retry: 9"]
)
marks = st.sampled_from([b"", b"\xef\xbb\xbf"])
streams = st.builds(
    lambda mark, parts: mark + b"".join(line + end for line, end in parts),
    marks,
    st.lists(st.tuples(lines, line_ends), max_size=20),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(bounds)]


def decode(chunks: list[bytes]) -> list[Event]:
    decoder = SseDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data(events: list[Event]) -> list[bytes]:
    return [event.data for event in events if event.data is not None]


@given(streams, st.lists(st.integers(0, 400), max_size=12))
def test_cuts_change_neither_data_nor_bytes(stream: bytes, places: list[int]) -> None:
    whole, pieces = decode([stream]), decode(cut(stream, places))
    assert data(pieces) == data(whole)
    raw = b"".join(event.raw for event in pieces)
    assert stream.startswith(raw)
    assert raw == b"".join(event.raw for event in whole)


@given(streams)
def test_what_passes_reads_the_same_again(stream: bytes) -> None:
    events = decode([stream])
    assert data(decode([event.raw for event in events])) == data(events)


@given(st.binary(max_size=200), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_are_decoded_or_refused(stream: bytes, places: list[int]) -> None:
    try:
        events = decode(cut(stream, places))
    except Refused:
        return
    assert stream.startswith(b"".join(event.raw for event in events))


@given(
    streams,
    st.binary(min_size=1, max_size=20).filter(lambda new: b"\r" not in new and not new.endswith(b"\n")),
)
def test_encoded_data_is_what_a_reader_gets(stream: bytes, new: bytes) -> None:
    for event in decode([stream]):
        if event.data is not None:
            assert data(decode([encode(new, event)])) == [new]
