"""The transport is run on both event loops; nothing may be left open."""

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A transport that nobody closed complains when it is collected, and warnings are errors."""
    gc.freeze()  # what was there before is not looked through again, test by test
    yield
    gc.collect()
