"""A feed wakes whoever waits, and nobody misses the newest value."""

import asyncio

import pytest

from spiffe_mcp.identity import BundleSet
from spiffe_mcp.identity.sources.feed import Feed, FeedClosed, IdentityFeed
from spiffe_mcp.identity.state import IdentityState
from tests.fakes.mini_ca import MiniCa

CA = MiniCa("a.test")
ONE, TWO = (IdentityState(CA.issue(path), BundleSet()) for path in ("/one", "/two"))


async def test_whoever_waits_is_woken_by_the_first_state() -> None:
    feed = IdentityFeed()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(feed.wait_ready()) for _ in range(3)]
        await asyncio.sleep(0)  # let them begin to wait
        feed.publish(None)
        await asyncio.sleep(0)  # let them see that there is still nothing
        feed.publish(ONE)
    assert [task.result() for task in waiting] == [ONE, ONE, ONE]
    assert await feed.wait_ready() is ONE


async def test_a_withdrawn_identity_is_not_ready() -> None:
    feed = IdentityFeed()
    feed.publish(ONE)
    feed.publish(None)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(feed.wait_ready())
        await asyncio.sleep(0)  # let it begin to wait
        assert not waiting.done()
        feed.publish(TWO)
    assert waiting.result() is TWO


async def test_a_slow_reader_skips_states_but_not_the_newest() -> None:
    feed = IdentityFeed()
    states = feed.states()
    assert await anext(states) is None
    feed.publish(ONE)
    feed.publish(TWO)
    assert await anext(states) is TWO
    feed.publish(None)
    assert await anext(states) is None


async def test_readers_do_not_disturb_each_other() -> None:
    feed = IdentityFeed()
    one, other = feed.states(), feed.states()
    await anext(one)
    feed.publish(ONE)
    assert await anext(other) is ONE
    assert await anext(one) is ONE


# -- any value ----------------------------------------------------------------------------------------------


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
