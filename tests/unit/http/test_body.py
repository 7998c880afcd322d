"""A body in pieces is the same body."""

import pytest

from spiffe_mcp.http.body import Body


@pytest.mark.parametrize("pieces", [[], [b"hello"], [b"he", b"llo"], [b"h", b"e", b"l", b"l", b"o"]])
def test_pieces_make_a_whole(pieces: list[bytes]) -> None:
    body = Body()
    for piece in pieces:
        body.add(piece)
    assert body.whole() == b"".join(pieces)
    assert len(body) == len(b"".join(pieces))
    assert isinstance(body.whole(), bytes)


def test_a_body_in_one_piece_is_not_copied() -> None:
    body, piece = Body(), b"hello"
    body.add(piece)
    assert body.whole() is piece
