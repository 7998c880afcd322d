"""Events come out whole, with their exact bytes, as soon as they are complete."""

import tracemalloc

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.sse import Event, SseDecoder, encode, without_data
from tests.unit.mcp import captured

STREAMS = [
    pytest.param(b"data: a\n\n", [b"a"], id="LF"),
    pytest.param(b"data: a\r\r", [b"a"], id="CR"),
    pytest.param(b"data: a\r\n\r\n", [b"a"], id="CRLF"),
    pytest.param(b"data: a\r\n\n", [b"a"], id="mixed"),
    pytest.param(b"data:a\n\n", [b"a"], id="no space"),
    pytest.param(b"data:  a\n\n", [b" a"], id="one space is the format's, the second the data's"),
    pytest.param(b"data\n\n", [b""], id="no colon"),
    pytest.param(b"data: a: b\n\n", [b"a: b"], id="colon in the data"),
    pytest.param(b"data: {\ndata: }\n\n", [b"{\n}"], id="two lines"),
    pytest.param(b"data: {\rdata\rdata: }\r\r", [b"{\n\n}"], id="three lines, one empty"),
    pytest.param(b"id: 1\nevent: message\nretry: 5\ndata: a\n\n", [b"a"], id="other fields"),
    pytest.param(b"data: a\n: inside\nid: 2\n\n", [b"a"], id="comment inside"),
    pytest.param(b": ping\n\ndata: a\n\n: ping\n\n", [b"a"], id="keep-alives"),
    pytest.param(b"id: 7\ndata: \n\nid: 8\n\n", [b""], id="priming event and bare ID"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte order mark"),
    pytest.param(b"\n\n\ndata: a\n\n\n\n", [b"a"], id="blank lines"),
    pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two events"),
    pytest.param("data: ü\u2028\n\n".encode(), ["ü\u2028".encode()], id="Unicode in data"),
    pytest.param(b"", [], id="nothing"),
]


def events_of(stream: bytes, size: int) -> list[Event]:
    decoder = SseDecoder()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize(("stream", "data"), STREAMS)
def test_data_and_bytes_survive_any_cut(stream: bytes, data: list[bytes], size: int) -> None:
    events = events_of(stream, size)
    assert [event.data for event in events if event.data is not None] == data
    assert b"".join(event.raw for event in events) == stream


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_captured_stream_is_read(size: int) -> None:
    events = events_of(captured.MODERN_STREAM, size)
    assert b"".join(event.raw for event in events) == captured.MODERN_STREAM
    carried = [event.data for event in events if event.data]
    assert len(carried) == 2
    assert carried[1].startswith(b'{"jsonrpc":"2.0","id":4,')


@pytest.mark.parametrize(
    "complete", [b"data: a\n\n", b"data: a\r\r", b"data: a\r\n\r", b": ping\n", b": ping\r"]
)
def test_what_is_complete_is_not_held_back(complete: bytes) -> None:
    assert b"".join(event.raw for event in SseDecoder().feed(complete)) == complete


def test_what_is_not_complete_is_held_back() -> None:
    assert SseDecoder().feed(b"data: a\n") == []
    assert SseDecoder().feed(b"data: a\r\n") == []
    assert SseDecoder().feed(b": pin") == []


def test_a_line_feed_that_comes_late_belongs_to_the_line_it_ends() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\ndata: b\r\n\r") == [Event(b"data: a\r\ndata: b\r\n\r", b"a\nb")]
    assert decoder.feed(b"\n") == [Event(b"\n", None)]
    assert decoder.feed(b"data: c\n\n") == [Event(b"data: c\n\n", b"c")]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b" data: {}\n\n", id="a name that a reader may trim"),
        pytest.param(b"Data: {}\n\n", id="a name that a reader may fold"),
        pytest.param(b"x: y\n\n", id="unknown field"),
        pytest.param(b"data : {}\n\n", id="space before the colon"),
        pytest.param(b"data: a\n\xef\xbb\xbfdata: {}\n\n", id="byte order mark in the middle"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: {}\n\n", id="two byte order marks"),
        pytest.param(": x\u2028data: {}\n\n".encode(), id="comment with a line separator"),
        pytest.param(": x\u2029data: {}\n\n".encode(), id="comment with a paragraph separator"),
        pytest.param(": x\u0085data: {}\n\n".encode(), id="comment with a next line"),
        pytest.param(b": x\x0bdata: {}\n\n", id="comment with a vertical tab"),
        pytest.param(b": x\x0cdata: {}\n\n", id="comment with a form feed"),
        pytest.param(b": x\x1edata: {}\n\n", id="comment with a record separator"),
        pytest.param(b"id: x\x00\n\n", id="NUL in an ID"),
        pytest.param("event: x\u2028data: {}\n\n".encode(), id="event with a line separator"),
    ],
)
def test_a_line_that_another_reader_could_take_for_data_is_refused(stream: bytes) -> None:
    with pytest.raises(Refused) as refused:
        SseDecoder().feed(stream)
    assert refused.value.reason is Reason.SSE_MALFORMED


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"data: " + b"x" * 100], id="one long line"),
        pytest.param([b"data: " + b"x" * 100 + b"\n\n"], id="one whole event"),
        pytest.param([b"x" * 10] * 10, id="a line in pieces"),
        pytest.param([b"data: x\n"] * 20, id="many lines"),
        pytest.param([b"id: x\n", b": y\n"] * 20, id="comments inside an event"),
    ],
)
def test_an_event_over_the_limit_is_refused(chunks: list[bytes]) -> None:
    decoder = SseDecoder(max_event_bytes=64)
    with pytest.raises(Refused) as refused:
        [decoder.feed(chunk) for chunk in chunks]
    assert refused.value.reason is Reason.SSE_TOO_LARGE


def test_a_line_in_the_smallest_pieces_takes_no_more_memory_than_its_bytes() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: ")
    tracemalloc.start()
    try:
        for _ in range(100_000):
            decoder.feed(b"x\xff")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 2 * 200_000


def test_the_limit_is_per_event() -> None:
    decoder = SseDecoder(max_event_bytes=64)
    assert len(decoder.feed(b"data: x\n\n: ping\n" * 1000)) == 2000


@pytest.mark.parametrize(
    ("template", "data", "encoded"),
    [
        (b"data: old\n\n", b"new", b"data: new\n\n"),
        (
            b"event: message\r\nid: 7\r\ndata: old\r\n\r\n",
            b"new",
            b"event: message\r\nid: 7\r\ndata: new\r\n\r\n",
        ),
        (b"data: a\rdata: b\rretry: 5\r\r", b"new", b"data: new\rretry: 5\r\r"),
        (b"data: a\n: in\ndata: b\n\n", b"x\ny", b": in\ndata: x\ndata: y\n\n"),
        (b"data: a\rdata: b\n\n", b"new", b"data: new\n\n"),
        (b"\xef\xbb\xbfdata: a\n\n", b"new", b"\xef\xbb\xbfdata: new\n\n"),
        (b"id: 1\ndata\n\n", b"new", b"id: 1\ndata: new\n\n"),
    ],
)
def test_data_is_replaced_and_nothing_else(template: bytes, data: bytes, encoded: bytes) -> None:
    assert encode(data, Event(template, b"old")) == encoded


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_without_its_data_an_event_keeps_its_id_and_dispatches_nothing(end: bytes) -> None:
    raw = end.join([b"\xef\xbb\xbf: c", b"", b"id: 3", b"data: x", b"event: message", b"data", b"", b""])
    *_, event = SseDecoder().feed(raw)
    emptied = without_data(event)
    assert emptied == b"id: 3\nevent: message\n\n"
    assert [again.data for again in SseDecoder().feed(emptied)] == [None]


@pytest.mark.parametrize(
    ("stream", "ids"),
    [
        (b"id: 1\ndata: a\n\ndata: b\n\n", [b"1", None]),
        (b"id:1\nid:  2\n\n", [b" 2"]),
        (b"id\ndata: a\n\n", [b""]),
        (b": id: 1\ndata: id: 2\n\n", [None, None]),
    ],
)
def test_the_last_id_of_an_event_is_its_own(stream: bytes, ids: list[bytes | None]) -> None:
    assert [event.id for event in events_of(stream, 3)] == ids
