"""Whoever waits too long for an answer is told so, and whoever hears something may wait on."""

import asyncio
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.patience import Patience, StreamLimits

SHORT: Final = StreamLimits(idle=0.02)


async def test_an_answer_that_never_begins_is_given_up() -> None:
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(Refused) as caught, Patience(SHORT, Interruption()):
        await never
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
    assert never.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0  # what comes later is not cancelled by it


async def hearing(limits: StreamLimits, seconds: float) -> None:
    """Hear something all the time for so long, and nothing after."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with Patience(limits, Interruption()) as patience:
        while loop.time() < end:
            await asyncio.sleep(0)
            patience.heard()
        await asyncio.Event().wait()


async def test_whoever_hears_something_waits_anew() -> None:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Refused):
        await hearing(SHORT, 3 * SHORT.idle)
    assert asyncio.get_running_loop().time() >= begun + 4 * SHORT.idle - 0.002


async def test_all_of_it_is_bounded_whatever_is_heard() -> None:
    with pytest.raises(Refused) as caught:
        await hearing(StreamLimits(idle=60, total=0.02), 60)
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


async def test_who_has_left_is_not_interrupted() -> None:
    interruption = Interruption()
    with interruption.possible():
        with Patience(SHORT, interruption):
            pass
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(2 * SHORT.idle, done.set)
        await done.wait()


async def test_another_reason_comes_out_as_it_is() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt, Refused(Reason.TLS_LIFETIME))
    with pytest.raises(Refused) as caught, Patience(StreamLimits(), interruption):
        await asyncio.Event().wait()
    assert caught.value.reason is Reason.TLS_LIFETIME


async def lasting(limits: StreamLimits) -> None:
    """Hear nothing on a stream that lasts."""
    with Patience(limits, Interruption()) as patience:
        patience.last()
        await asyncio.Event().wait()


async def test_a_stream_that_lasts_may_be_silent_until_all_is_over() -> None:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Refused) as caught:
        await lasting(StreamLimits(idle=0.01, total=0.1))
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
    assert asyncio.get_running_loop().time() - begun > 0.05
