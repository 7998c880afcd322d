"""What answers at an agent's admin endpoint is told apart: an agent, ready or not; nobody; somebody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from spiffe_mcp.agent import admin
from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.doctor import running
from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.running import asked
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address

ANYWHERE = AdminConfig(Address("127.0.0.1", 0))


class Said(NamedTuple):
    """What an agent says of itself."""

    keeps_from_serving: tuple[Refused, ...]
    warns_of: tuple[Refused, ...]

    def reasons(self) -> tuple[Refused, ...]:
        return self.keeps_from_serving

    def warnings(self) -> tuple[Refused, ...]:
        return self.warns_of


@asynccontextmanager
async def an_agent(
    *reasons: Refused, config: AdminConfig = ANYWHERE, warnings: tuple[Refused, ...] = ()
) -> AsyncIterator[AdminConfig]:
    async with admin.serving(config, Said(reasons, warnings), CollectorRegistry()) as bound:
        yield AdminConfig(bound, on_network=config.on_network)


@asynccontextmanager
async def somebody(says: bytes) -> AsyncIterator[AdminConfig]:
    """A server that says so much to the one who asks; nothing, and it waits until the other leaves."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        if not says:
            await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield AdminConfig(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
        await left.wait()
    finally:
        server.close()


def told(found: Finding, severity: Severity, *words: str) -> None:
    assert (found.check, found.severity) == (Check.AGENT, severity)
    for word in words:
        assert word in f"{found.message} {found.advice}"


async def test_an_agent_that_is_ready() -> None:
    async with an_agent() as config:
        told(await asked(config), Severity.OK, "says that it is ready")


async def test_an_agent_that_is_ready_and_warns_is_quoted() -> None:
    async with an_agent(warnings=(Refused(Reason.POLICY_INVALID, "p.rego: line 1"),)) as config:
        told(await asked(config), Severity.WARNING, "policy.invalid: p.rego: line 1", "would not start")


async def test_an_agent_that_is_not_is_quoted() -> None:
    reasons = (Refused(Reason.SVID_EXPIRED, "an hour ago"), Refused(Reason.AUDIT_UNAVAILABLE, "full"))
    async with an_agent(*reasons) as config:
        found = await asked(config)
    told(found, Severity.ERROR, "identity.svid_expired: an hour ago; audit.unavailable: full")


async def test_an_endpoint_on_every_address_is_asked_on_loopback() -> None:
    config = AdminConfig(Address("0.0.0.0", 0), on_network=True)  # noqa: S104  it is what is configured
    async with an_agent(config=config) as bound:
        told(await asked(bound), Severity.OK, "http://127.0.0.1:")


async def test_nobody_is_a_warning_since_an_agent_need_not_run_yet() -> None:
    async with an_agent() as config:
        pass
    told(await asked(config), Severity.WARNING, "No agent answers", "spiffe-mcp agent --config")


async def test_a_port_of_the_kernels_choice_cannot_be_asked() -> None:
    told(await asked(ANYWHERE), Severity.OK, "the kernel chooses")


@pytest.mark.parametrize(
    "says",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"ready":"yes"}',
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_somebody_else(says: bytes) -> None:
    async with somebody(says) as config:
        told(await asked(config), Severity.ERROR, "Something else than an agent answers")


async def test_an_agent_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ANSWER_SECONDS", 0.2)
    async with somebody(b"") as config:
        told(await asked(config), Severity.ERROR, "does not answer within 0.2 s")
