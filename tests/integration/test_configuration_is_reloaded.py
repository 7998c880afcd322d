"""Policy, manifests, servers and the user can change while the agents run: whole, or not at all."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, ResponseHead
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Hop, call
from tests.fakes.mcp_server import JSON, Message, result_of, serving_mcp, tool
from tests.fakes.mesh import LIVE, PLANNER, POLICY, SERVER, SIGNED, Mesh, Site, provider_at, running_mesh
from tests.fakes.streaming import begun_and_never_answered, rest_of, streaming_hop, until

NOBODY = POLICY.replace('input.tool.name in {"echo", "changed"}', 'input.tool.name == "changed"')


def unchanged(document: Message) -> None:
    """Other files have changed."""


def server(**keys: object) -> Callable[[Message], None]:
    def change(document: Message) -> None:
        document["ingress"]["servers"][0].update(keys)

    return change


async def echo(mesh: Mesh, text: str = "on we go") -> str:
    """What is answered, or the reason of the refusal as the ingress records it."""
    answered = await mesh.planner.ask(call("echo", text=text))
    return answered.text if "result" in answered.document else str(mesh.log("ingress").last()["reason"])


async def test_a_policy_that_forbids_a_tool_refuses_the_next_call_and_cuts_what_runs(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(mesh.hop()) as stream:
                mesh.site.write_policy(NOBODY)
                mesh.reconfigure("ingress", unchanged)
                await rest_of(stream)
        record = mesh.log("ingress").last()
        assert (record["outcome"], record["reason"]) == ("refused", Reason.POLICY_DENIED.code)
        assert await echo(mesh) == Reason.POLICY_DENIED.code
        mesh.site.write_policy(POLICY)
        mesh.reconfigure("ingress", unchanged)
        assert await echo(mesh) == "on we go"


async def test_what_is_still_permitted_goes_on(folder: Path) -> None:
    """A call that is under way while its policy, its manifest and its server's connections are replaced."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def later(message: Message, reply: Reply) -> None:
        begun.set()
        await go_on.wait()
        await reply.send(ResponseHead(200, JSON), result_of(message, "patience"))

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(later):
            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(echo(mesh))
                await begun.wait()
                mesh.site.write_policy(POLICY + "\n# the same\n")
                mesh.site.sign_manifest()
                mesh.reconfigure("ingress", unchanged)
                for _ in range(5):
                    await asyncio.sleep(0)  # what runs has been looked at again
                go_on.set()
            assert asked.result() == "patience"


BAD: dict[str, Callable[[Site], object]] = {
    "a policy that does not compile": lambda site: site.write_policy("package mcp.authz\n decision := {"),
    "a policy that is no text": lambda site: (site.folder / "policy.rego").write_bytes(b"\xff"),
    "no policy": lambda site: (site.folder / "policy.rego").unlink(),
    "half a manifest": lambda site: os.truncate(site.folder / "manifest.json", 300),
    "a manifest of another server": lambda site: site.sign_manifest(server=PLANNER),
    "another trust policy": lambda site: (site.folder / "trust.json").write_text("{}"),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
async def test_where_any_file_is_bad_nothing_changes(
    folder: Path, spoil: Callable[[Site], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Not even what is good in the others: the peers of this file are nobody."""

    def change(document: Message) -> None:
        document["ingress"]["peers"] = []

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        before = mesh.log("ingress").last()["decision"]
        spoil(mesh.site)
        mesh.reconfigure("ingress", change)
        assert "what is in force stays so" in caplog.text
        assert await echo(mesh) == "on we go"
        assert mesh.log("ingress").last()["decision"] == before


async def test_a_tool_that_a_new_manifest_does_not_have_is_cut_and_called_no_more(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(mesh.hop()) as stream:
                mesh.site.sign_manifest(tools=[tool("changed"), tool("pay")])
                mesh.reconfigure("ingress", unchanged)
                await rest_of(stream)
        assert mesh.log("ingress").last()["reason"] == Reason.MANIFEST_TOOL_UNSIGNED.code
        assert "Unknown tool" in str((await mesh.planner.ask(call("echo", text="?"))).body)
        mesh.site.sign_manifest(tools=SIGNED)
        mesh.reconfigure("ingress", unchanged)
        assert await echo(mesh) == "on we go"


async def test_a_tool_that_is_signed_anew_is_held_against_what_the_server_lists_now(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        mesh.site.sign_manifest(tools=[tool("echo", description="Another."), tool("pay")])
        mesh.reconfigure("ingress", unchanged)
        await mesh.planner.ask(call("echo", text="?"))
        assert mesh.log("ingress").last()["reason"] == Reason.MANIFEST_TOOL_CHANGED.code


async def test_a_server_that_is_added_is_served_and_one_that_is_taken_off_is_not(folder: Path) -> None:
    def added(document: Message) -> None:
        document["ingress"]["servers"].append({**document["ingress"]["servers"][0], "name": "second"})

    def routed(document: Message) -> None:
        document["egress"]["servers"].append({**document["egress"]["servers"][0], "name": "second"})

    def taken_off(document: Message) -> None:
        del document["ingress"]["servers"][0]

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        second = replace(call("echo", text="two"), target=b"/second/mcp")
        assert (await mesh.planner.ask(second)).reason == Reason.ROUTE_UNKNOWN.code
        mesh.reconfigure("ingress", added)
        mesh.reconfigure("planner", routed)
        assert (await mesh.planner.ask(second)).text == "two"
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(mesh.hop()) as stream:
                mesh.reconfigure("ingress", taken_off)
                await rest_of(stream)
        assert mesh.log("ingress").last()["reason"] == Reason.ROUTE_UNKNOWN.code
        assert await echo(mesh) == Reason.ROUTE_UNKNOWN.code
        assert (await mesh.planner.ask(second)).text == "two"


async def test_a_server_may_move(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, serving_mcp(LIVE) as elsewhere:
        mesh.reconfigure("ingress", server(upstream=elsewhere.url))
        with mesh.server.untouched():
            assert await echo(mesh) == "on we go"


@pytest.mark.parametrize("meanwhile", ["nothing", "moved", "taken off and put back"])
async def test_a_context_that_was_used_is_refused_after_a_reload_too(folder: Path, meanwhile: str) -> None:
    def renamed(document: Message) -> None:
        document["ingress"]["servers"][0]["name"] = "other"

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh, serving_mcp(LIVE) as elsewhere:
        hop = mesh.hop()
        used = hop.signed(call("echo", text="once"))
        assert (await hop.ask(used)).status == 200
        if meanwhile == "moved":
            mesh.reconfigure("ingress", server(upstream=elsewhere.url))
        elif meanwhile == "taken off and put back":
            mesh.reconfigure("ingress", renamed)
            mesh.reconfigure("ingress", server(name="desk"))
        else:
            mesh.reconfigure("ingress", unchanged)
        again = await hop.ask(used)
        assert (again.status, again.reason) == (403, Reason.CONTEXT_REPLAYED.code)


async def test_calls_are_for_the_user_of_the_file(folder: Path) -> None:
    def change(document: Message) -> None:
        document["egress"]["user"] = {"sub": "bob", "sub_iss": "https://idp.test"}

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        mesh.reconfigure("planner", change)
        assert await echo(mesh) == "on we go"
        assert mesh.log("ingress").last()["user"] == "bob"


async def test_a_process_reads_its_files_when_a_config_map_is_turned_and_bears_a_storm_of_signals(
    folder: Path,
) -> None:
    """As Kubernetes does it: files are links into `..data`, which is a link that is replaced."""
    site = Site(folder)
    site.sign_manifest()
    for generation, policy in (("..1", POLICY), ("..2", NOBODY)):
        (folder / generation).mkdir()
        (folder / generation / "policy.rego").write_text(policy)
    (folder / "..data").symlink_to("..1")
    (folder / "policy.rego").symlink_to("..data/policy.rego")
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        upstream = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, upstream.url)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        agent = await stack.enter_async_context(running)
        ingress = Address.parse((await agent.ready())["ingress"])
        svid = next(svid for entry, svid in provider.issued.svids.items() if entry.spiffe_id == PLANNER)
        hop = Hop(ingress, svid, provider.issued.bundles, SERVER)
        assert (await hop.ask(hop.signed(call("echo", text="first")))).text == "first"
        (folder / "..new").symlink_to("..2")
        (folder / "..new").rename(folder / "..data")
        await until(lambda: "is in force" in (folder / "ingress.err").read_text())
        refused = await hop.ask(hop.signed(call("echo", text="second")))
        assert "Unknown tool" in str(refused.body)
        document = yaml.safe_load(config.read_text())
        for _ in range(200):
            agent.signal(signal.SIGHUP)
        document["ingress"]["peers"] = []
        config.write_text(yaml.safe_dump(document))
        agent.signal(signal.SIGHUP)
        await until(lambda: _reads(folder) > 1)
        with pytest.raises(Refused):
            await _asked_for_ever(hop)  # until the last of the signals has been heard
        assert _reads(folder) < 200
        assert await agent.stopped() == 0


async def _asked_for_ever(hop: Hop) -> None:
    while True:
        await hop.ask(hop.signed(call("echo", text="third")))


def _reads(folder: Path) -> int:
    return (folder / "ingress.err").read_text().count("is in force")
