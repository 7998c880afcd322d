"""What one who asked is kept: in order, until the last, and no more than there is room for."""

import asyncio

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio.exchange import Exchange, Piece, Unread
from tests.unit.mesh.stdio.bridged import soon

ENDED = Refused(Reason.STDIO_ENDED)


async def test_messages_come_in_order_and_nothing_after_the_last() -> None:
    exchange = Exchange(Unread())
    exchange.put(b"a", is_last=False)
    exchange.put(b"b", is_last=True)
    exchange.put(b"c", is_last=True)
    assert [await exchange.next(), await exchange.next()] == [
        Piece(b"a", is_last=False),
        Piece(b"b", is_last=True),
    ]
    assert exchange.is_over


async def test_whoever_waits_is_woken() -> None:
    exchange = Exchange(Unread())
    waiting = soon(exchange.next())
    await asyncio.sleep(0)
    exchange.put(b"a", is_last=True)
    assert (await waiting).message == b"a"


async def test_a_failure_is_for_whoever_waits_and_the_first_counts() -> None:
    exchange = Exchange(Unread())
    waiting = soon(exchange.next())
    await asyncio.sleep(0)
    exchange.fail(ENDED)
    exchange.fail(Refused(Reason.STDIO_STUCK))
    with pytest.raises(Refused, match=r"stdio\.ended"):
        await waiting


async def test_an_answer_that_is_there_survives_the_end_of_its_process() -> None:
    exchange = Exchange(Unread())
    exchange.put(b"a", is_last=True)
    exchange.fail(ENDED)
    assert (await exchange.next()).message == b"a"


async def test_of_too_much_whoever_has_most_loses_and_no_other() -> None:
    unread = Unread(10)
    small, large = Exchange(unread), Exchange(unread)
    small.put(b"abc", is_last=True)
    large.put(b"x" * 7, is_last=False)
    large.put(b"y", is_last=True)
    with pytest.raises(Refused) as refused:
        await large.next()
    assert refused.value.reason is Reason.STDIO_UNREAD
    assert (await small.next()).message == b"abc"


async def test_what_was_read_or_left_is_kept_no_more() -> None:
    unread = Unread(10)
    for _ in range(5):
        one, other = Exchange(unread), Exchange(unread)
        one.put(b"x" * 5, is_last=True)
        other.put(b"x" * 5, is_last=True)
        assert (await one.next()).is_last
        other.leave()
