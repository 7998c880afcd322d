"""The other implementation, built once for all tests; where it cannot be built they are skipped and say why.

Our side runs on uvloop, as production does.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pytest
import uvloop

from spiffe_mcp.dev.provider import Provider
from tests.fakes import go_spiffe as go
from tests.fakes.go_spiffe import GoSpiffe
from tests.fakes.workloads import provider_at


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Whichever test comes first waits for the build."""
    for item in items:
        if isinstance(item, pytest.Function) and "go_spiffe" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(go.BUILD_SECONDS))


@pytest.fixture(scope="session")
def go_spiffe(tmp_path_factory: pytest.TempPathFactory) -> GoSpiffe:
    if reason := go.missing():
        pytest.skip(reason)
    return GoSpiffe.build(tmp_path_factory.mktemp("go-spiffe"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="interop-") as path:
        yield Path(path)


@pytest.fixture
async def provider(folder: Path) -> AsyncIterator[Provider]:
    async with provider_at(folder) as running:
        yield running
