"""These tests run on uvloop, as production does; a mesh serves all tests of a module that asks for `mesh`."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from tests.fakes.mesh import Mesh, running_mesh


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        yield Path(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """As `module_folder`, for one test."""
    with tempfile.TemporaryDirectory(prefix="mesh-") as path:
        yield Path(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(module_folder: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(module_folder) as running:
        yield running
