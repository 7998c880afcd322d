"""The admin endpoint on a real socket: what it answers, to whom, and that nothing can be changed by it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry, Gauge

from spiffe_mcp.agent import admin
from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.admin import Admin

LOOPBACK = AdminConfig(Address("127.0.0.1", 0))
ON_NETWORK = AdminConfig(Address("127.0.0.1", 0), on_network=True)
PATHS = ("/healthz", "/readyz", "/metrics")
WAITS = Refused(Reason.POLICY_INVALID, "p.rego: line 1")
WARNINGS = [{"code": "policy.invalid", "detail": WAITS.detail}]
EXPIRED = Refused(Reason.SVID_EXPIRED, "spiffe://mesh.test/w, an hour ago")


class Said(NamedTuple):
    """A readiness: this, and a warning."""

    found: tuple[Refused, ...]

    def reasons(self) -> tuple[Refused, ...]:
        return self.found

    def warnings(self) -> tuple[Refused, ...]:
        return (WAITS,)


@asynccontextmanager
async def endpoint(*reasons: Refused, config: AdminConfig = LOOPBACK) -> AsyncIterator[Admin]:
    registry = CollectorRegistry()
    Gauge("answers", "All of them.", registry=registry).set(42)
    async with admin.serving(config, Said(reasons), registry) as bound:
        yield Admin(f"http://{bound}")


async def test_readiness_without_a_reason_is_200_whatever_there_is_to_warn_of() -> None:
    async with endpoint() as asked:
        assert await asked.readiness() == (200, {"ready": True, "reasons": [], "warnings": WARNINGS})


async def test_readiness_with_reasons_is_503_and_has_them_all() -> None:
    full = Refused(Reason.AUDIT_UNAVAILABLE, "/log: the disk is full")
    async with endpoint(EXPIRED, full) as asked:
        status, document = await asked.readiness()
    assert status == 503
    assert document == {
        "ready": False,
        "reasons": [
            {"code": "identity.svid_expired", "detail": EXPIRED.detail},
            {"code": "audit.unavailable", "detail": full.detail},
        ],
        "warnings": WARNINGS,
    }


async def test_a_process_that_is_not_ready_is_alive() -> None:
    async with endpoint(EXPIRED) as asked:
        status, _, body = await asked.ask("/healthz")
    assert (status, json.loads(body)) == (200, {"alive": True})


async def test_metrics_are_those_of_the_given_registry_in_the_format_that_is_asked_for() -> None:
    async with endpoint() as asked:
        _, headers, plain = await asked.ask("/metrics")
        assert headers["Content-Type"].startswith("text/plain")
        assert "answers 42.0" in plain
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        _, headers, modern = await asked.ask("/metrics", headers=accept)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert modern.endswith("# EOF\n")


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_a_body(path: str) -> None:
    async with endpoint() as asked:
        status, headers, body = await asked.ask(path, "HEAD")
    assert (status, body) == (200, "")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
async def test_no_other_method_is_known(path: str, method: str) -> None:
    async with endpoint() as asked:
        assert (await asked.ask(path, method))[0] == 405


@pytest.mark.parametrize("path", ["/", "/metrics/", "/readyz/x", "/debug/pprof", "//metrics"])
async def test_no_other_path_is_known(path: str) -> None:
    async with endpoint() as asked:
        assert (await asked.ask(path))[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"Host": "127.0.0.1.evil.test:80"},
        {"Host": "10.1.2.3"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_a_page_that_was_rebound_to_loopback_learns_nothing(path: str, headers: dict[str, str]) -> None:
    async with endpoint() as asked:
        status, _, body = await asked.ask(path, headers=headers)
    assert status == 403
    assert json.loads(body) == {"error": "mesh.origin_forbidden"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9470", "[::1]:9470"])
async def test_the_names_of_this_machine_are_let_in(host: str) -> None:
    async with endpoint() as asked:
        assert (await asked.ask("/healthz", headers={"Host": host}))[0] == 200


async def test_on_the_network_an_address_will_do_and_a_foreign_name_still_does_not() -> None:
    async with endpoint(config=ON_NETWORK) as asked:
        for host in ("10.1.2.3:9470", "[fd00::1]:9470", "localhost"):
            assert (await asked.ask("/healthz", headers={"Host": host}))[0] == 200
        for headers in ({"Host": "evil.test"}, {"Host": "10.1.2.3", "Origin": "http://10.1.2.3"}):
            assert (await asked.ask("/healthz", headers=headers))[0] == 403


async def test_silent_strangers_keep_no_probe_out() -> None:
    async with endpoint() as asked:
        host, port = asked.url.removeprefix("http://").rsplit(":", 1)
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(admin.MAX_CONNECTIONS + 5)]
        assert (await asked.ask("/healthz"))[0] == 200
        async with asyncio.timeout(10):
            assert await silent[0][0].read() == b""  # the oldest gave way
        for _, writer in silent:
            writer.close()


async def test_a_flood_that_comes_at_once_finds_no_more_room() -> None:
    async with endpoint() as asked:
        host, port = asked.url.removeprefix("http://").rsplit(":", 1)
        # All are there before the endpoint has a turn: it takes many in one.
        flood = [socket.create_connection((host, int(port))) for _ in range(4 * admin.MAX_CONNECTIONS)]
        for connection in flood[: -admin.MAX_CONNECTIONS]:
            connection.settimeout(0)
            async with asyncio.timeout(admin.IDLE_SECONDS / 2):  # and not because they were idle
                with suppress(ConnectionResetError):
                    assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
        assert (await asked.ask("/healthz"))[0] == 200
        for connection in flood:
            connection.close()


async def test_an_address_that_is_taken_is_said() -> None:
    async with endpoint() as asked:
        taken = AdminConfig(Address.parse(asked.url.removeprefix("http://")))
        with pytest.raises(Refused) as refused:
            async with admin.serving(taken, Said(()), CollectorRegistry()):
                pass
    assert refused.value.reason is Reason.LISTEN_FAILED
