"""The suite runs on uvloop, as production does. Its checks' assertions say what they saw."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

pytest.register_assert_rewrite("tests.intermediary.check", "tests.intermediary.checks")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="mesh-") as path:
        yield Path(path)
