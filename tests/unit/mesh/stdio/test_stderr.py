"""What a server complains of: in lines, bounded, readable, and without what it was trusted with."""

import pytest

from spiffe_mcp.mesh.stdio.stderr import LINES, MAX_LINE, PERIOD, StderrLines


def test_lines_are_complete_however_they_arrive() -> None:
    lines = StderrLines()
    assert [lines.feed(piece, 0.0) for piece in (b"on", b"e\ntwo\r\nth", b"ree")] == [[], ["one", "two"], []]
    assert lines.finish(0.0) == ["three"]
    assert lines.finish(0.0) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\u202eright to left\u2028".encode(), "\\u202eright to left\\u2028"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\rb\x00", "a\\rb\\x00"),
        ("Grüezi".encode(), "Grüezi"),
    ],
)
def test_nothing_moves_a_cursor(said: bytes, shown: str) -> None:
    assert StderrLines().feed(said + b"\n", 0.0) == [shown]


@pytest.mark.parametrize("step", [1, 1000, 10 * MAX_LINE])
def test_a_line_is_cut_where_it_becomes_too_long(step: int) -> None:
    said, lines, shown = b"x" * (3 * MAX_LINE) + b"\nnext\n", StderrLines(), []
    for start in range(0, len(said), step):
        shown += lines.feed(said[start : start + step], 0.0)
    assert shown == ["x" * MAX_LINE + f" ... {2 * MAX_LINE} bytes more", "next"]


def test_of_too_many_lines_the_rest_is_counted() -> None:
    lines = StderrLines()
    assert len(lines.feed(b"x\n" * (LINES + 7), 0.0)) == LINES
    assert lines.feed(b"y\n", PERIOD / 2) == []
    assert lines.feed(b"z\n", PERIOD) == ["... 8 lines more", "z"]


def test_what_it_was_given_is_hidden() -> None:
    assert StderrLines(("hunter22",)).feed(b"the key hunter22 is wrong\n", 0.0) == [
        "the key [hidden] is wrong"
    ]
