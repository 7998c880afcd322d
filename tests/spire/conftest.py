"""Drills with real SPIRE: skipped by name where it is not on PATH. Our side runs on uvloop, as production."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import uvloop

HERE = Path(__file__).parent
MISSING = "spire-server and spire-agent are not on PATH"
SECONDS = 300  # for one drill: SPIRE starts, and lifetimes are waited for


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    missing = not all(map(shutil.which, ("spire-server", "spire-agent")))
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS))
            if missing:
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="drill-") as path:
        yield Path(path)
