"""Who may be at the other end can change while the agents run, for new connections and live ones."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from spiffe_mcp.agent.registries import Registries
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.callers import SoleWorkload
from spiffe_mcp.mesh.hops import Destination
from spiffe_mcp.mesh.snapshot import Snapshot
from tests.fakes import commands
from tests.fakes.mcp_client import Hop, call
from tests.fakes.mcp_server import Message, event, serving_mcp
from tests.fakes.mesh import (
    GUEST,
    LIVE,
    PLANNER,
    REVIEWER,
    SERVER,
    STRANGER,
    Mesh,
    Site,
    provider_at,
    recording_ingress,
    running_mesh,
)
from tests.fakes.streaming import (
    PROGRESS,
    begun_and_never_answered,
    beside,
    rest_of,
    streaming_hop,
    until,
)


def peers(*who: object) -> Callable[[Message], None]:
    def change(document: Message) -> None:
        document["ingress"]["peers"] = [str(each) for each in who]

    return change


def server(pattern: str) -> Callable[[Message], None]:
    def change(document: Message) -> None:
        document["egress"]["servers"][0]["spiffe_id"] = pattern

    return change


async def still_works(mesh: Mesh) -> None:
    assert (await mesh.planner.ask(call("echo", text="on we go"))).text == "on we go"


async def test_a_peer_that_is_taken_off_the_list_is_cut_at_once_and_the_others_are_not(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER, REVIEWER)) as mesh:
        await mesh.reviewer.ask(call("hidden"))
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(mesh.hop(REVIEWER)) as theirs, streaming_hop(mesh.hop(PLANNER)) as ours:
                before = len(mesh.log("ingress").records())
                mesh.reconfigure("ingress", peers(PLANNER))
                async with asyncio.timeout(1):  # within a second of the change
                    with pytest.raises(Refused):
                        await rest_of(theirs)
                await until(lambda: len(mesh.log("ingress").records()) > before + 2)
                assert not ours._lost
        reload, *cut = mesh.log("ingress").records()[before : before + 3]
        assert (reload["kind"], reload["outcome"]) == ("reload", "completed")
        assert {record["peer"] for record in cut} == {str(REVIEWER)}
        assert {record["reason"] for record in cut} == {Reason.ID_NOT_AUTHORIZED.code}
        assert {record["kind"] for record in cut} == {"authentication", "exchange"}
        refused = await mesh.reviewer.ask(call("echo", text="let me in"))
        assert (refused.status, refused.reason) == (403, Reason.TLS_REJECTED.code)
        await still_works(mesh)


async def test_a_peer_that_is_not_cut_yet_is_refused_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of chains are verified again before the last connection is looked at."""
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, mesh.hop(PLANNER).connected() as live:
        hop = mesh.hop(PLANNER)
        assert (await live.exchange(hop.signed(call("hidden")))).status == 200
        await rest_of(live)
        monkeypatch.setattr(Registries, "recheck", lambda _: None)
        mesh.reconfigure("ingress", peers(REVIEWER))
        assert (await live.exchange(hop.signed(call("hidden")))).status == 403
        assert Reason.ID_NOT_AUTHORIZED.code.encode() in await rest_of(live)
        assert mesh.log("ingress").records()[-1]["reason"] == Reason.ID_NOT_AUTHORIZED.code


async def test_a_call_that_is_on_its_way_to_a_server_that_is_taken_off_is_not_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its hop already, which is not cut yet."""
    lease = SoleWorkload.lease

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:

        async def leased_before(sole: SoleWorkload, destination: Destination, snapshot: Snapshot) -> object:
            hop = await lease(sole, destination, snapshot)
            mesh.reconfigure("planner", server("spiffe://mesh.test/another"))
            return hop

        monkeypatch.setattr(Registries, "recheck", lambda _: None)
        monkeypatch.setattr(SoleWorkload, "lease", leased_before)
        before = len(mesh.log("ingress").records())
        await mesh.planner.ask(call("echo", text="too late"))
        assert mesh.log("planner").records()[-1]["reason"] == Reason.ID_NOT_AUTHORIZED.code
        assert len(mesh.log("ingress").records()) == before


async def test_a_peer_that_is_put_on_the_list_is_let_in(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        hop = mesh.hop(STRANGER)
        with pytest.raises(Refused):
            await hop.ask(hop.signed(call("echo", text="let me in")))
        mesh.reconfigure("ingress", peers(PLANNER, STRANGER))
        assert (await hop.ask(hop.signed(call("echo", text="let me in")))).status == 200


async def test_an_agent_reads_its_file_again_at_sighup(folder: Path) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        upstream = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, upstream.url)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        agent = await stack.enter_async_context(running)
        ingress = Address.parse((await agent.ready())["ingress"])
        svid = next(svid for entry, svid in provider.issued.svids.items() if entry.spiffe_id == PLANNER)
        hop = Hop(ingress, svid, provider.issued.bundles, SERVER)
        async with hop.connected() as live:
            await live.exchange(hop.signed(call("hidden")))
            await rest_of(live)
            document = yaml.safe_load(config.read_text())
            peers(REVIEWER)(document)
            config.write_text(yaml.safe_dump(document))
            agent.signal(signal.SIGHUP)
            await until(lambda: not live.reusable)
        with pytest.raises(Refused) as refused:
            await hop.ask(hop.signed(call("hidden")))
        assert refused.value.reason is Reason.TLS_REJECTED
        assert await agent.stopped() == 0
    assert "was read again" in (folder / "ingress.err").read_text()


async def test_an_empty_list_admits_nobody(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        mesh.reconfigure("ingress", peers())
        assert (await mesh.planner.ask(call("echo", text="anybody?"))).status in {403, 503}
        assert (await mesh.planner.ask(call("echo", text="anybody?"))).reason == Reason.TLS_REJECTED.code


async def test_a_server_that_may_be_called_no_more_is_cut_in_the_middle_of_its_answer(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with await mesh.planner.begin(call("echo", text="go on")) as response:
                chunks = aiter(response)
                assert await anext(chunks) == event(PROGRESS)
                mesh.reconfigure("planner", server(str(STRANGER)))
                async with asyncio.timeout(1):  # within a second of the change
                    with pytest.raises(Refused):
                        await anext(chunks)
        record = mesh.log("planner").last()
        assert (record["outcome"], record["reason"]) == ("refused", Reason.ID_NOT_AUTHORIZED.code)
        refused = await mesh.planner.ask(call("echo", text="again"))
        assert (refused.status, refused.reason) == (403, Reason.ID_NOT_AUTHORIZED.code)
        mesh.reconfigure("planner", server(str(SERVER)))
        await still_works(mesh)


async def test_a_pooled_hop_is_not_used_for_a_server_that_it_may_no_longer_lead_to(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        await still_works(mesh)
        with mesh.server.untouched():
            mesh.reconfigure("planner", server("spiffe://mesh.test/mcp/*/other"))
            refused = await mesh.planner.ask(call("echo", text="too late"))
        assert (refused.status, refused.reason) == (403, Reason.ID_NOT_AUTHORIZED.code)


async def test_a_server_that_is_no_longer_listed_is_not_called(folder: Path) -> None:
    def gone(document: Message) -> None:
        document["egress"]["servers"][0]["name"] = "other"

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        await still_works(mesh)
        mesh.reconfigure("planner", gone)
        assert (await mesh.planner.ask(call("echo", text="there?"))).reason == Reason.ROUTE_UNKNOWN.code


async def test_by_a_pattern_a_call_is_signed_for_whoever_answers(folder: Path) -> None:
    """The audience is the server that this hop has proved, and the record names it."""
    async with (
        running_mesh(folder, egresses=(PLANNER,)) as mesh,
        recording_ingress(mesh) as ingress,
        beside(mesh, ingress.port) as client,
    ):
        mesh.reconfigure("planner", server("spiffe://mesh.test/mcp/*"))
        await still_works(mesh)
        assert mesh.log("planner").last()["server"] == str(SERVER)
        assert mesh.log("ingress").last()["outcome"] == "completed"
        assert (await client.ask(call("echo", text="exactly"))).text == "exactly"


async def test_a_file_that_is_wrong_changes_nothing_and_says_where(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        mesh.reconfigure("ingress", peers("spiffe://mesh.test/ai-agent/plan*"))
        assert "ingress.yaml:" in caplog.text
        assert "ingress.peers[0]" in caplog.text
        assert "what is in force stays so" in caplog.text
        await still_works(mesh)
        assert (await mesh.hop(GUEST).ask(mesh.hop(GUEST).signed(call("echo", text="x")))).status == 200


async def test_what_needs_a_restart_is_named_and_nothing_of_the_file_is_done(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(document: Message) -> None:
        peers(REVIEWER)(document)
        document["ingress"]["listen"] = "127.0.0.1:1"
        document["connections"]["max_lifetime"] = 5

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        mesh.reconfigure("ingress", change)
        assert f"{Reason.RELOAD_NEEDS_RESTART.code}: 'ingress', 'connections'" in caplog.text
        await still_works(mesh)
