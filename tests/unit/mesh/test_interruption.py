"""What is interrupted ends with the reason it was interrupted for, and everything else ends as it would."""

import asyncio
from contextlib import suppress

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.interruption import Interruption

OVER = Refused(Reason.TLS_LIFETIME)


class Work:
    """A task that waits inside an interruption, and what came of it."""

    def __init__(self, scopes: int = 1) -> None:
        self.interruption = Interruption()
        self.inside = asyncio.Event()
        self.left: list[type[BaseException]] = []
        self.scopes = scopes

    async def run(self) -> str:
        try:
            await self._within(self.scopes)
        except Refused as refused:
            return refused.reason.code
        return "done"

    async def _within(self, scopes: int) -> None:
        try:
            with self.interruption.possible():
                if scopes > 1:
                    await self._within(scopes - 1)
                else:
                    self.inside.set()
                    await asyncio.Event().wait()
        except BaseException as error:
            self.left.append(type(error))
            raise


async def begun(work: Work, tasks: asyncio.TaskGroup) -> asyncio.Task[str]:
    task = tasks.create_task(work.run())
    await work.inside.wait()
    assert work.interruption.running
    return task


@pytest.mark.parametrize("scopes", [1, 3])
async def test_the_inside_raises_the_reason_in_every_scope(scopes: int) -> None:
    work = Work(scopes)
    async with asyncio.TaskGroup() as tasks:
        task = await begun(work, tasks)
        work.interruption.interrupt(OVER)
        assert await task == Reason.TLS_LIFETIME.code
    assert work.left == [Refused] * scopes
    assert not work.interruption.running
    assert task.cancelling() == 0  # a later cancellation counts from here


async def test_the_first_reason_counts() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        task = await begun(work, tasks)
        work.interruption.interrupt(OVER)
        work.interruption.interrupt(Refused(Reason.CHAIN_UNTRUSTED))
        assert await task == Reason.TLS_LIFETIME.code


async def test_a_cancellation_that_comes_with_it_does_not_hide_the_reason() -> None:
    """A connection that is cut is lost in the same moment, and its handler is cancelled for that."""
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        task = await begun(work, tasks)
        work.interruption.interrupt(OVER)
        task.cancel()
        assert await task == Reason.TLS_LIFETIME.code


async def test_a_cancellation_alone_stays_one() -> None:
    work = Work()
    task = asyncio.get_running_loop().create_task(work.run())
    await work.inside.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert not work.interruption.running


async def test_interrupting_nothing_does_nothing_to_what_comes_next() -> None:
    work = Work()
    work.interruption.interrupt(OVER)
    with work.interruption.possible():
        await asyncio.sleep(0)
    assert not work.interruption.running
