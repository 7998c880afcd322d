"""Every check, against the proxy that INTERMEDIARY_URL names: see docs/guides/intermediary-suite.md."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.intermediary.check import Bench, Check
from tests.intermediary.checks import CHECKS
from tests.intermediary.proxies import foreign, from_environment

PROXY = from_environment()
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(PROXY is None, reason="INTERMEDIARY_URL names no proxy to test"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    assert PROXY is not None
    async with foreign(PROXY) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.number}-{check.name}")
async def test_it_passes(check: Check, bench: Bench) -> None:
    if missing := check.needs - bench.offers:
        pytest.skip(f"the proxy was not given {', '.join(need.value for need in missing)}")
    assert await check.failure(bench) is None
