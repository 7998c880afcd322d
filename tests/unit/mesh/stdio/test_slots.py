"""Processes are started no faster than the back-off says, and not too many; the test holds the clock."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio.program import Program
from spiffe_mcp.mesh.stdio.slots import Slots
from tests.unit.mesh.stdio.bridged import program, until

ENDS = Program((sys.executable, "-I", "-S", "-c", ""))


class Time:
    """Seconds that pass when somebody waits for them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


@asynccontextmanager
async def slots(started: Program, time: Time) -> AsyncIterator[Slots]:
    async with asyncio.TaskGroup() as tasks:
        running = Slots("desk", started, {"PATH": "/usr/bin:/bin"}, tasks, time, time.pause)
        try:
            yield running
        finally:
            await running.close()


async def test_what_ends_at_once_is_started_later_and_later() -> None:
    time = Time()
    async with slots(ENDS, time) as running:
        for _ in range(4):
            with pytest.raises(Refused, match=r"stdio\.ended"):
                await running.modern()
        assert time.waited == [0.0, 0.0, 0.5, 1.0]
        with pytest.raises(Refused, match=r"stdio\.not_started: it ended, and is started again in 2\.0 s"):
            await running.modern()
        assert len(time.waited) == 4, "nothing was started"
        time.now += 1.0
        with pytest.raises(Refused, match=r"stdio\.ended"):
            await running.modern()


async def test_what_is_ended_because_it_is_not_wanted_is_no_failure() -> None:
    time = Time()
    async with slots(program(), time) as running:
        for _ in range(4):
            server = await running.own()
            server.process.end()
            await until(lambda: running.room == 32)
    assert time.waited == [0.0] * 4


async def test_no_more_than_the_most_at_once() -> None:
    async with slots(program(most=2), Time()) as running:
        await running.own()
        await running.own()
        assert running.room == 0
        with pytest.raises(Refused) as refused:
            await running.own()
        assert refused.value.reason is Reason.STDIO_TOO_MANY


async def test_one_process_serves_all_who_ask_at_once() -> None:
    async with slots(program(), Time()) as running:
        first, second = await asyncio.gather(running.modern(), running.modern())
        assert first is second
