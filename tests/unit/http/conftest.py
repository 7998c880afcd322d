"""Everything in this folder runs on both event loops: their transports differ in what they forgive."""

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A transport or coroutine that nobody closed complains when it is collected, and warnings are errors."""
    gc.freeze()  # what was there before is not looked through again, test by test
    yield
    gc.collect()
