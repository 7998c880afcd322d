"""The messages of an answer, in either form, and the place in a stream from which it can go on."""

from typing import Final

import pytest

from spiffe_mcp.connect.answer import MAX_PAUSE, Place
from spiffe_mcp.mcp.sse import Event

START: Final = Place()


def after(*events: bytes) -> Place:
    place = Place()
    for raw in events:
        place.passed(Event(raw, None))
    return place


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"id: 7\n\n", ((b"last-event-id", b"7"),)),
        (b"id:7\r\ndata: {}\r\n\r\n", ((b"last-event-id", b"7"),)),
        (b"data: x\nid: a b\nid: 8\n\n", ((b"last-event-id", b"8"),)),
        (b"data: id: 7\n\n", ()),
        (b"id: \0\n\n", ()),
        (b": id: 7\n\n", ()),
    ],
)
def test_the_last_id_is_where_a_stream_goes_on(raw: bytes, headers: object) -> None:
    assert after(raw).headers == headers


def test_an_empty_id_forgets_the_one_before() -> None:
    assert after(b"id: 7\n\n", b"id\n\n").headers == ()
    assert after(b"id: 7\n\n", b"id:\n\n").headers == ()


@pytest.mark.parametrize(
    ("raw", "pause"),
    [
        (b"retry: 250\n\n", 0.25),
        (b"retry: 99999999999999999999\n\n", MAX_PAUSE),
        (b"retry: soon\n\n", START.pause),
        (b"retry\n\n", START.pause),
    ],
)
def test_the_server_says_how_long_to_wait_within_reason(raw: bytes, pause: float) -> None:
    assert after(raw).pause == pause
