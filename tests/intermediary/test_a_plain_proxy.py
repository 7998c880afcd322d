"""The suite can fail: a proxy that passes everything on fails every check, but for those about passing on."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.intermediary.check import Bench, Check
from tests.intermediary.checks import CHECKS
from tests.intermediary.proxies import plain
from tests.intermediary.report import PASSED_BY_A_PLAIN_PROXY

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    async with plain() as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.number}-{check.name}")
async def test_a_plain_proxy_fails_it_unless_it_is_about_passing_on(check: Check, bench: Bench) -> None:
    failure = await check.failure(bench)
    assert (failure is None) == (check.name in PASSED_BY_A_PLAIN_PROXY), failure
