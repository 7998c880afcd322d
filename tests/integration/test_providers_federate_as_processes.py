"""`spiffe-mcp dev provider`, as two operators run it: each a process, a bundle handed over as a file."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.identity import SpiffeId, TrustDomain, verify_chain
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import ById
from tests.fakes.bundle_endpoints import LOOPBACK, write_web_files
from tests.fakes.commands import Command, run, running
from tests.fakes.mcp_client import now
from tests.fakes.mini_ca import MiniCa

B = TrustDomain("b.test")
CLIENT, SERVER = SpiffeId.parse("spiffe://a.test/client"), SpiffeId.parse("spiffe://b.test/server")


@asynccontextmanager
async def provider(
    folder: Path, workload: SpiffeId, *options: str | Path
) -> AsyncIterator[tuple[Command, Any]]:
    """A provider of the workload's trust domain, and what it announced."""
    name = str(workload.trust_domain)
    words = ("--trust-domain", name, "--socket", folder / f"{name}.sock", "--entry", str(workload))
    log = folder / f"{name}.log"
    async with running("dev", "provider", *words, *options, log=log) as command:
        yield command, await command.ready()


@asynccontextmanager
async def identity(ready: Any, workload: SpiffeId) -> AsyncIterator[WorkloadApiSource]:
    """The identity of `workload`, followed as an agent does it."""
    source = WorkloadApiSource(
        ready["workload_api"], wanted=ById(workload), clock=now, on_event=lambda _: None
    )
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(source.run())
        yield source
        following.cancel()


async def until(source: WorkloadApiSource, accepts: Callable[[IdentityState], bool]) -> IdentityState:
    async with asyncio.timeout(30):
        async for state in source.states():
            if state is not None and accepts(state):
                return state
    raise AssertionError("the states of a source never end")


def trusts_somebody_of_b(state: IdentityState) -> bool:
    bundle = state.bundles.get(B)
    return bundle is not None and bool(bundle.authorities_der)


async def test_one_process_trusts_the_other_by_a_file_and_an_endpoint_and_stops_when_it_is_told(
    folder: Path,
) -> None:
    bundle = folder / "b.json"
    serving = ("--bundle-endpoint", "127.0.0.1:0", "--write-bundle", bundle)
    async with provider(folder, SERVER, *serving) as (_, there):
        assert there["event"] == "ready"
        assert there["endpoint_id"] == "spiffe://b.test/spiffe/bundle-endpoint"
        relationship = (
            *("--federate", f"b.test={there['bundle_endpoint']}"),
            *("--https-spiffe", f"b.test={there['endpoint_id']}", "--bootstrap", f"b.test={bundle}"),
            *("--federates-with", f"{CLIENT}=b.test"),
        )
        async with (
            provider(folder, CLIENT, *relationship) as (command, here),
            identity(here, CLIENT) as client,
            identity(there, SERVER) as server,
        ):
            state = await until(client, trusts_somebody_of_b)
            svid = (await server.wait_ready()).svid
            assert verify_chain(svid.chain_der, state.bundles, now()) == SERVER
            assert (await server.wait_ready()).bundles.get(CLIENT.trust_domain) is None, "it is one way"
            # The operator's own word: nobody. It takes the place of whatever was fetched.
            bundle.write_bytes(b'{"keys":[]}')
            os.kill(command.pid, signal.SIGHUP)
            await until(client, lambda state: not trusts_somebody_of_b(state))
            assert await command.stopped() == 0
    assert "fetched the bundle of b.test" in (folder / "a.test.log").read_text()
    assert not (folder / "a.test.sock").exists()


async def test_the_bundle_may_be_handed_over_after_both_have_started(folder: Path) -> None:
    """Whoever is first has nothing to read yet."""
    serving = ("--bundle-endpoint", "127.0.0.1:0", "--write-bundle", folder / "written.json")
    async with provider(folder, SERVER, *serving) as (_, there):
        relationship = (
            *("--federate", f"b.test={there['bundle_endpoint']}"),
            *("--https-spiffe", f"b.test={there['endpoint_id']}"),
            *("--bootstrap", f"b.test={folder / 'brought.json'}"),
            *("--federates-with", f"{CLIENT}=b.test"),
        )
        async with (
            provider(folder, CLIENT, *relationship) as (command, here),
            identity(here, CLIENT) as client,
        ):
            assert (await client.wait_ready()).bundles.get(B) is None
            (folder / "written.json").rename(folder / "brought.json")
            os.kill(command.pid, signal.SIGHUP)
            await until(client, trusts_somebody_of_b)


async def test_a_web_certificate_does_as_well(folder: Path) -> None:
    certificate, key, authority = write_web_files(MiniCa("web", now=now()), folder, LOOPBACK)
    serving = ("--bundle-endpoint", "127.0.0.1:0", "--profile", "https_web")
    async with provider(folder, SERVER, *serving, "--certificate", certificate, "--key", key) as (_, there):
        assert "endpoint_id" not in there
        relationship = (
            *("--federate", f"b.test={there['bundle_endpoint']}", "--https-web", f"b.test={authority}"),
            *("--federates-with", f"{CLIENT}=b.test"),
        )
        async with provider(folder, CLIENT, *relationship) as (_, here), identity(here, CLIENT) as client:
            await until(client, trusts_somebody_of_b)


async def test_a_written_bundle_is_the_one_that_is_served(folder: Path) -> None:
    bundle = folder / "b.json"
    async with provider(folder, SERVER, "--write-bundle", bundle):
        assert [key["use"] for key in json.loads(bundle.read_bytes())["keys"]] == ["x509-svid", "jwt-svid"]
        assert bundle.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--write-bundle", "/nowhere/b.json"), 1, "federation.bundle_file"),
        (("--bundle-endpoint", "127.0.0.1:0", "--endpoint-id", str(SERVER)), 1, "dev.registration"),
        (("--federates-with", f"{SERVER}=a.test"), 2, "no --federate a.test"),
        (("--bundle-endpoint", "nowhere"), 2, "not HOST:PORT"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(
    folder: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    words = ("--trust-domain", "b.test", "--socket", folder / "b.sock", "--entry", str(SERVER))
    ended = run("dev", "provider", *words, *options)
    assert ended.returncode == code
    assert said in ended.stderr
    assert ended.stdout == ""
