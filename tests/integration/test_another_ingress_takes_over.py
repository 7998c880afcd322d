"""A server behind two ingresses goes on when one of them ends; its legacy sessions are told so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh import egress_listener
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.names import FRESH, Names
from spiffe_mcp.tls import TlsIdentity
from tests.fakes.mcp_client import Plain, call, initialize, legacy, now
from tests.fakes.mcp_server import Message, RecordingServer, serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, REVIEWER, Log, Site, provider_at, running_agent


@dataclass
class Pair:
    """Two ingresses, each before a server of its own, and what an egress needs to reach them."""

    site: Site
    provider: Provider
    addresses: list[str]
    first: RecordingServer
    second: RecordingServer
    ending: AsyncExitStack

    async def end_first(self) -> None:
        """Its ingress; the server itself stays."""
        await self.ending.aclose()

    @asynccontextmanager
    async def client(self, *before: str) -> AsyncIterator[Plain]:
        """A client whose egress knows the addresses `before`, and then both."""
        config = self.site.egress_config(self.provider.address, [*before, *self.addresses], PLANNER)
        async with running_agent(config) as egress:
            assert isinstance(egress.egress, Address)
            client = Plain(egress.egress)
            yield client
            client.close()


@dataclass
class NameService:
    """Knows one name, and what time it is."""

    answer: tuple[Address, ...]
    now: float = 0.0

    async def __call__(self, name: Address) -> tuple[Address, ...]:
        assert name.host == "desk.mesh.test"
        return self.answer


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack, AsyncExitStack() as ending:
        provider = await stack.enter_async_context(provider_at(folder))
        first, second = [await stack.enter_async_context(serving_mcp(LIVE)) for _ in range(2)]
        addresses = []
        for server, name, until in ((first, "one", ending), (second, "two", stack)):
            config = site.ingress_config(provider.address, server.url, log=name)
            addresses.append(str((await until.enter_async_context(running_agent(config))).ingress))
        yield Pair(site, provider, addresses, first, second, ending)


async def opened(client: Plain) -> bytes:
    """A new legacy session."""
    return dict((await client.ask(initialize())).headers)[b"mcp-session-id"]


async def test_calls_go_to_the_preferred_ingress_and_to_the_other_when_it_has_ended(folder: Path) -> None:
    async with pair(folder) as on, on.client() as client:
        for _ in range(3):
            assert (await client.ask(call("echo", text="hi"))).text == "hi"
        assert (len(on.first.called), len(on.second.called)) == (3, 0)
        await on.end_first()
        for _ in range(3):
            assert (await client.ask(call("echo", text="hi"))).text == "hi"
        assert (len(on.first.called), len(on.second.called)) == (3, 3)
    records = Log(folder / "planner.jsonl").records()
    assert [record["decision"] for record in records] == ["allow"] * 6  # one exchange, one record
    gone = {on.addresses[0]: Reason.UPSTREAM_UNREACHABLE.code}
    assert [record["passed_over"] for record in records if "passed_over" in record] == [gone]


async def test_a_legacy_session_does_not_move_and_its_client_initialises_anew(folder: Path) -> None:
    params = {"name": "echo", "arguments": {"text": "hi"}}
    async with pair(folder) as on, on.client() as client:
        session = await opened(client)
        assert (await client.ask(legacy("tools/call", params, session=session))).text == "hi"
        await on.end_first()
        lost = await client.ask(legacy("tools/call", params, session=session))
        assert lost.status == 404  # MCP 2025-11-25, transports: the client starts a new session
        assert on.second.called == []
        assert Log(folder / "planner.jsonl").last()["reason"] == Reason.SESSION_UNKNOWN.code
        session = await opened(client)
        assert (await client.ask(legacy("tools/call", params, session=session))).text == "hi"
        assert (len(on.first.called), len(on.second.called)) == (1, 1)


async def test_a_session_stays_where_it_was_made_when_the_preferred_ingress_comes_back(folder: Path) -> None:
    params = {"name": "echo", "arguments": {"text": "hi"}}
    async with pair(folder) as on:
        back = on.addresses[0]
        await on.end_first()
        async with on.client() as client:
            session = await opened(client)
            config = on.site.ingress_config(on.provider.address, on.first.url, log="one")
            document = yaml.safe_load(config.read_text())
            document["ingress"]["listen"] = back
            config.write_text(yaml.safe_dump(document))
            async with running_agent(config):
                while not on.first.called:  # until its address is tried again
                    assert (await client.ask(call("echo", text="hi"))).text == "hi"
                before = len(on.second.called)
                assert (await client.ask(legacy("tools/call", params, session=session))).text == "hi"
                assert (len(on.first.called), len(on.second.called)) == (1, before + 1)


async def test_a_call_whose_ingress_dies_while_it_runs_is_not_made_again(folder: Path) -> None:
    arrived = asyncio.Event()

    async def runs(_: Message, __: Reply) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with pair(folder) as on, on.client() as client, asyncio.TaskGroup() as tasks:
        with on.first.answering(runs):
            asking = tasks.create_task(client.ask(call("echo", text="once")))
            await arrived.wait()
            await on.end_first()
            assert (await asking).status == 503
        assert (len(on.first.called), on.second.called) == (1, [])
        assert (await client.ask(call("echo", text="another"))).text == "another"
    broken, _ = Log(folder / "planner.jsonl").records()
    assert broken["outcome"] == "refused"  # whether TLS was closed in order depends on how it died
    assert broken["reason"] in {Reason.TLS_TRUNCATED.code, Reason.UPSTREAM_BROKEN.code}
    assert "passed_over" not in broken


async def test_somebody_else_at_the_preferred_address_hears_nothing(folder: Path) -> None:
    async with pair(folder) as on:
        issued = on.provider.issued
        svid = next(svid for entry, svid in issued.svids.items() if entry.spiffe_id == REVIEWER)
        other = TlsIdentity(IdentityState(svid, issued.bundles), now)
        peers = AllowedIds.only(PLANNER)
        async with (
            serving_mcp(LIVE, secured=lambda: other.accept(peers)) as impostor,
            on.client(urlsplit(impostor.url).netloc) as client,
        ):
            assert (await client.ask(call("echo", text="hi"))).text == "hi"
            assert (impostor.requests, len(on.first.called)) == ([], 1)
    [record] = Log(folder / "planner.jsonl").records()
    there = urlsplit(impostor.url).netloc
    assert record["passed_over"] == {there: Reason.ID_NOT_AUTHORIZED.code}


async def test_a_name_comes_to_stand_for_another_ingress(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a headless service of Kubernetes does, whose pods come and go. The name service is ours."""
    params = {"name": "echo", "arguments": {"text": "hi"}}
    async with pair(folder) as on:
        first, second = map(Address.parse, on.addresses)
        service = NameService((first,))
        monkeypatch.setattr(egress_listener, "Names", lambda: Names(service, lambda: service.now))
        config = on.site.egress_config(on.provider.address, "desk.mesh.test:8443", PLANNER)
        async with running_agent(config) as egress:
            assert isinstance(egress.egress, Address)
            client = Plain(egress.egress)
            session = await opened(client)
            assert (await client.ask(legacy("tools/call", params, session=session))).text == "hi"
            assert (len(on.first.called), len(on.second.called)) == (1, 0)
            service.answer, service.now = (second,), FRESH
            assert (await client.ask(call("echo", text="hi"))).text == "hi"
            assert (len(on.first.called), len(on.second.called)) == (1, 1)
            lost = await client.ask(legacy("tools/call", params, session=session))
            assert lost.status == 404  # its ingress is one no more, though it still runs
            session = await opened(client)
            assert (await client.ask(legacy("tools/call", params, session=session))).text == "hi"
            assert (len(on.first.called), len(on.second.called)) == (1, 2)
            client.close()
