"""An agent says whether it can serve and, if not, why; and it is ready again as soon as the cause is gone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.agent import agent
from spiffe_mcp.agent.agent import Ready
from spiffe_mcp.agent.config import load
from tests.fakes import commands
from tests.fakes.admin import Admin, telling_agent, with_admin
from tests.fakes.mcp_client import now
from tests.fakes.mesh import PLANNER, SERVER, Clock, Site, provider_at
from tests.fakes.mini_ca import HOUR, MiniCa
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

PATH = PLANNER.path


def config_at(folder: Path) -> Path:
    """An egress for `PLANNER`, with an admin endpoint; its Workload API is `api.sock`."""
    site = Site(folder)
    return with_admin(site.egress_config(f"unix://{folder}/api.sock", "127.0.0.1:9"))


@pytest.fixture
def ca() -> MiniCa:
    return MiniCa("mesh.test", now=now())


@asynccontextmanager
async def a_ready_agent(
    folder: Path, ca: MiniCa, clock: Clock | None = None
) -> AsyncIterator[tuple[FakeWorkloadApi, Admin]]:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.push(message([svid_part(ca, PATH)]))
        async with telling_agent(config_at(folder), clock or now) as admin:
            await admin.until()
            yield api, admin


async def test_it_starts_before_its_source_and_says_that_it_cannot_reach_it(folder: Path, ca: MiniCa) -> None:
    async with telling_agent(config_at(folder)) as admin:
        document = await admin.until("identity.source_unreachable")
        assert document["ready"] is False
        assert "UNAVAILABLE" in document["reasons"][0]["detail"]
        assert (await admin.readiness())[0] == 503
        assert (await admin.ask("/healthz"))[0] == 200
        async with FakeWorkloadApi(folder / "api.sock") as api:
            api.push(message([svid_part(ca, PATH)]))
            assert await admin.until() == {"ready": True, "reasons": [], "warnings": []}
            assert (await admin.readiness())[0] == 200
            assert (await admin.metrics())["spiffe_mcp_identity_source_reconnects_total"] == 1


async def test_a_source_that_has_not_answered_yet_is_no_reason_but_there_is_no_svid(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api, telling_agent(config_at(folder)) as admin:
        await api.asked()
        await admin.until("mesh.identity_unavailable")


async def test_denied_and_granted_again(folder: Path, ca: MiniCa) -> None:
    async with a_ready_agent(folder, ca) as (api, admin):
        api.deny()
        document = await admin.until("identity.workload_api_denied")
        assert "as the test wants it" in document["reasons"][0]["detail"]
        api.push(message([svid_part(ca, PATH)]))
        await admin.until()


async def test_withdrawn_because_only_another_svid_is_offered(folder: Path, ca: MiniCa) -> None:
    async with a_ready_agent(folder, ca) as (api, admin):
        api.push(message([svid_part(ca, SERVER.path)]))
        document = await admin.until("identity.svid_not_offered")
        assert str(PLANNER) in document["reasons"][0]["detail"]
        api.push(message([svid_part(ca, PATH)]))
        await admin.until()


async def test_expired_while_the_source_is_gone_and_ready_when_it_is_back(folder: Path, ca: MiniCa) -> None:
    clock = Clock()
    async with a_ready_agent(folder, ca, clock) as (api, admin):
        await api.stop()
        assert await admin.reasons() == []  # an outage alone costs nothing
        clock.advance(2 * HOUR)
        document = await admin.until("identity.svid_expired")
        assert str(PLANNER) in document["reasons"][0]["detail"]
        later = MiniCa("mesh.test", now=clock())
        api.push(message([svid_part(later, PATH)]))
        await api.start()
        await admin.until()


async def test_not_yet_valid_because_the_clock_was_set_back(folder: Path, ca: MiniCa) -> None:
    clock = Clock()
    async with a_ready_agent(folder, ca, clock) as (_, admin):
        clock.advance(-HOUR)
        document = await admin.until("identity.svid_not_yet_valid")
        assert "clock" in document["reasons"][0]["detail"]
        clock.advance(HOUR)
        await admin.until()


async def test_an_svid_that_breaks_a_rule_is_told_by_that_rule(folder: Path, ca: MiniCa) -> None:
    _, other_key = ca.issue_der(PATH)
    async with FakeWorkloadApi(folder / "api.sock") as api, telling_agent(config_at(folder)) as admin:
        api.push(message([svid_part(ca, PATH, x509_svid_key=other_key)]))
        await admin.until("identity.svid_key_mismatch")


async def test_an_audit_log_that_cannot_be_written_is_a_reason_too(folder: Path, ca: MiniCa) -> None:
    async with a_ready_agent(folder, ca) as (api, admin):
        log = folder / "planner.jsonl"
        log.unlink()
        document = await admin.until("audit.unavailable")
        assert "removed" in document["reasons"][0]["detail"]
        api.deny()
        await admin.until("identity.workload_api_denied", "audit.unavailable")


async def test_an_invalid_request_ends_the_agent_and_is_not_a_state_it_stays_in(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.deny(grpc.StatusCode.INVALID_ARGUMENT)
        ended = await asyncio.to_thread(commands.run, "agent", "--config", config_at(folder))
    assert ended.returncode == 1
    assert "identity.workload_api_rejected" in ended.stderr


# -- the endpoint itself ------------------------------------------------------------------------------------


async def test_the_ready_line_names_the_admin_address(folder: Path) -> None:
    async with provider_at(folder):
        running = commands.running("agent", "--config", config_at(folder), log=folder / "agent.err")
        async with running as started:
            ready = await started.ready()
            assert await Admin(f"http://{ready['admin']}").reasons() == []
            assert await started.stopped() == 0


async def test_without_the_section_there_is_no_endpoint(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    async with provider_at(folder) as provider, asyncio.TaskGroup() as tasks:
        config = load(Site(folder).egress_config(provider.address, "127.0.0.1:9"))
        with caplog.at_level(logging.INFO):
            serving = tasks.create_task(agent.run(config, clock=now, on_ready=ready.set_result))
            assert (await ready).admin is None
        serving.cancel()
    assert "admin: " not in caplog.text


async def test_an_svid_about_to_expire_shows_in_the_metrics_as_it_does(folder: Path, ca: MiniCa) -> None:
    clock = Clock()
    name = f'spiffe_mcp_svid_expiry_seconds{{spiffe_id="{PLANNER}"}}'
    async with a_ready_agent(folder, ca, clock) as (_, admin):
        before = await admin.metrics()
        assert before["spiffe_mcp_ready"] == 1
        clock.advance(timedelta(minutes=50))
        after = await admin.metrics()
        assert 2900 < before[name] - after[name] < 3100
        clock.advance(HOUR)
        expired = await admin.metrics()
        assert expired[name] < 0
        assert expired["spiffe_mcp_ready"] == 0
