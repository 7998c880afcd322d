"""Every check of the suite, against two agents of ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.intermediary.check import Bench, Check
from tests.intermediary.checks import CHECKS
from tests.intermediary.proxies import two_agents

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with two_agents(folder) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.number}-{check.name}")
async def test_an_agent_on_each_side_passes(check: Check, bench: Bench) -> None:
    assert check.needs <= bench.offers
    assert await check.failure(bench) is None
