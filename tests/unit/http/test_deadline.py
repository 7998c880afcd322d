import asyncio

from spiffe_mcp.http.deadline import Deadline


async def test_what_is_due_is_called_once() -> None:
    event = asyncio.Event()
    seen: list[str] = []
    deadline = Deadline()

    def then() -> None:
        seen.append("due")
        event.set()

    deadline.set(0.01, then)
    await asyncio.wait_for(event.wait(), 5)
    assert seen == ["due"]


async def test_a_deadline_that_was_moved_is_met_at_the_later_time() -> None:
    loop = asyncio.get_running_loop()
    met: asyncio.Future[float] = loop.create_future()
    deadline = Deadline()
    deadline.set(0.01, lambda: met.set_result(0.0))
    due = loop.time() + 0.1
    deadline.set(0.1, lambda: met.set_result(loop.time()))
    assert await asyncio.wait_for(met, 5) >= due - 0.002


async def test_a_deadline_that_comes_closer_does_not_wait_for_the_earlier_timer() -> None:
    met = asyncio.Event()
    deadline = Deadline()
    deadline.set(3600, lambda: None)
    deadline.set(0.01, met.set)
    await asyncio.wait_for(met.wait(), 5)


async def test_what_was_cleared_or_closed_is_not_called() -> None:
    seen: list[str] = []
    cleared, closed, other = Deadline(), Deadline(), Deadline()
    cleared.set(0.01, lambda: seen.append("cleared"))
    closed.set(0.01, lambda: seen.append("closed"))
    cleared.clear()
    closed.close()
    later = asyncio.Event()
    other.set(0.03, later.set)
    await asyncio.wait_for(later.wait(), 5)
    assert seen == []


async def test_one_that_was_cleared_can_be_set_anew() -> None:
    met = asyncio.Event()
    deadline = Deadline()
    deadline.set(0.01, lambda: None)
    deadline.clear()
    deadline.set(0.02, met.set)
    await asyncio.wait_for(met.wait(), 5)
