"""The feed that open streams follow."""

import asyncio

import pytest

from spiffe_mcp.dev.feed import Feed, FeedClosed


async def test_a_new_reader_gets_the_value_at_once() -> None:
    assert await Feed("a").after(None) == "a"


async def test_a_reader_waits_for_the_next_value() -> None:
    feed = Feed("a")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(feed.after("a"))
        await asyncio.sleep(0)
        assert not waiting.done()
        feed.publish("b")
    assert waiting.result() == "b"


async def test_a_slow_reader_gets_only_the_newest_value() -> None:
    feed = Feed("a")
    feed.publish("b")
    feed.publish("c")
    assert await feed.after("a") == "c"
    assert feed.newest == "c"


async def test_closing_ends_those_who_wait_and_those_who_come_later() -> None:
    feed = Feed("a")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(ends(feed))
        await asyncio.sleep(0)
        feed.close()
    assert waiting.result()
    assert await ends(feed)


async def ends(feed: Feed[str]) -> bool:
    with pytest.raises(FeedClosed):
        await feed.after("a")
    return True
