"""Files change under two agent processes, as operators and Kubernetes change them; calls go on meanwhile."""

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply, ResponseHead
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.admin import Admin, with_admin
from tests.fakes.commands import Command
from tests.fakes.mcp_client import Answer, Plain, call
from tests.fakes.mcp_server import JSON, Message, RecordingServer, event, result_of, serving_mcp
from tests.fakes.mesh import LIVE, POLICY, Log, Site, provider_at
from tests.fakes.streaming import PROGRESS, begun_and_never_answered, error_in

NOBODY = POLICY.replace('input.tool.name in {"echo", "changed"}', 'input.tool.name == "changed"')
IN_FLIGHT = 200
SUCCESS = "spiffe_mcp_last_reload_successful"
REFUSED = 'spiffe_mcp_reloads_total{result="refused"}'
APPLIED = 'spiffe_mcp_reloads_total{result="applied"}'


def replaced(file: Path, content: str) -> None:
    """In one step, as careful writers do."""
    other = file.with_name(f".{file.name}.new")
    other.write_text(content)
    other.rename(file)


@dataclass
class Deployed:
    """Two processes, the server behind them and the client in front."""

    site: Site
    server: RecordingServer
    client: Plain
    admin: Admin
    agents: dict[str, Command] = field(default_factory=dict)

    @property
    def log(self) -> Log:
        return Log(self.site.folder / "ingress.jsonl")

    def config(self, side: str) -> Path:
        return self.site.folder / f"{side}.yaml"

    def change(self, side: str, change: Callable[[Message], None]) -> None:
        """Another configuration of `ingress` or `planner`; nobody tells its agent."""
        document = yaml.safe_load(self.config(side).read_text())
        change(document)
        replaced(self.config(side), yaml.safe_dump(document, sort_keys=False))

    async def echo(self, text: str, server: str = "desk") -> Answer:
        return await self.client.ask(replace(call("echo", text=text), target=f"/{server}/mcp".encode()))

    async def said(self, what: str, side: str = "ingress", times: int = 1) -> None:
        """Wait until an agent has said something so often, and call on meanwhile."""
        while (self.site.folder / f"{side}.err").read_text().count(what) < times:
            await self.client.ask(call("pay"))  # whatever is in force: it is answered

    def files(self) -> dict[Path, str]:
        """What was configured, by file."""
        found = self.site.folder.iterdir()
        return {file: file.read_text() for file in found if file.suffix in {".yaml", ".json", ".rego"}}

    def reloads(self, outcome: str) -> list[Any]:
        """The records of reloads that ended so."""
        kinds = [record for record in self.log.records() if record["kind"] == "reload"]
        return [record for record in kinds if record["outcome"] == outcome]


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployed]:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy(POLICY)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))

        async def started(config: Path) -> tuple[Command, Any]:
            command = commands.running("agent", "--config", config, log=config.with_suffix(".err"))
            agent = await stack.enter_async_context(command)
            return agent, await agent.ready()

        ingress, inward = await started(with_admin(site.ingress_config(provider.address, server.url)))
        egress, outward = await started(site.egress_config(provider.address, inward["ingress"]))
        client = Plain(Address.parse(outward["egress"]))
        stack.callback(client.close)
        agents = {"ingress": ingress, "planner": egress}
        yield Deployed(site, server, client, Admin(f"http://{inward['admin']}"), agents)
        assert await egress.stopped() == 0
        assert await ingress.stopped() == 0


IN_FORCE = "is in force\n"
NOT_DONE = "was not put in force"


async def test_a_policy_that_is_replaced_decides_the_next_call_and_the_stream_that_runs(folder: Path) -> None:
    async with deployed(folder) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with await mesh.client.begin(call("echo", text="go on")) as stream:
                chunks = aiter(stream)
                assert await anext(chunks) == event(PROGRESS)
                replaced(folder / "policy.rego", NOBODY)
                rest = b"".join([chunk async for chunk in chunks])
        assert error_in(rest)["data"]["reason"] == Reason.POLICY_DENIED.code
        (reload,) = mesh.reloads("completed")
        assert reload["changed"].keys() == {str(folder / "policy.rego")}
        assert mesh.log.last()["reason"] == Reason.POLICY_DENIED.code
        assert "Unknown tool" in str((await mesh.echo("no more")).body)
        replaced(folder / "policy.rego", POLICY)
        await mesh.said(IN_FORCE, times=2)
        assert (await mesh.echo("again")).text == "again"
        assert mesh.log.report().broken is None


def half_a_configuration(mesh: Deployed) -> None:
    text = mesh.config("ingress").read_text()
    replaced(mesh.config("ingress"), text[: len(text) // 2])


def a_policy_that_does_not_compile(mesh: Deployed) -> None:
    replaced(mesh.site.folder / "policy.rego", "package mcp.authz\n decision := {")


def a_manifest_that_nobody_signed(mesh: Deployed) -> None:
    manifest = mesh.site.folder / "manifest.json"
    envelope = json.loads(manifest.read_text())
    replaced(manifest, json.dumps({**envelope, "payload": base64.b64encode(b"{}").decode()}))


def another_listener(mesh: Deployed) -> None:
    mesh.change("ingress", lambda document: document["ingress"].update(listen="127.0.0.1:1", peers=[]))


BAD = [
    (half_a_configuration, Reason.CONFIG_INVALID),
    (a_policy_that_does_not_compile, Reason.POLICY_INVALID),
    (a_manifest_that_nobody_signed, Reason.MANIFEST_SIGNATURE),
    (another_listener, Reason.RELOAD_NEEDS_RESTART),
]


async def test_whatever_is_bad_keeps_what_is_in_force_and_is_said_everywhere_until_it_is_corrected(
    folder: Path,
) -> None:
    async with deployed(folder) as mesh:
        for number, (spoil, reason) in enumerate(BAD, start=1):
            good = mesh.files()
            spoil(mesh)
            mesh.agents["ingress"].signal(signal.SIGHUP)
            await mesh.said(NOT_DONE, times=number)
            assert (await mesh.echo("on we go")).text == "on we go"
            status, document = await mesh.admin.readiness()
            assert (status, document["ready"]) == (200, True)
            assert [warning["code"] for warning in document["warnings"]] == [reason.code]
            metrics = await mesh.admin.metrics()
            assert (metrics[SUCCESS], metrics[REFUSED]) == (0, number)
            assert mesh.reloads("refused")[-1]["reason"] == reason.code
            for file, content in good.items():
                if file.read_text() != content:
                    replaced(file, content)
            mesh.agents["ingress"].signal(signal.SIGHUP)
            await mesh.said(IN_FORCE, times=number)
            assert (await mesh.admin.readiness())[1]["warnings"] == []
            assert (await mesh.admin.metrics())[SUCCESS] == 1


async def test_a_server_that_is_added_can_be_called_and_one_that_is_taken_off_cannot(folder: Path) -> None:
    def added(side: str) -> Callable[[Message], None]:
        def change(document: Message) -> None:
            document[side]["servers"].append({**document[side]["servers"][0], "name": "second"})

        return change

    def taken_off(document: Message) -> None:
        del document["ingress"]["servers"][0]

    async with deployed(folder) as mesh:
        assert (await mesh.echo("?", "second")).reason == Reason.ROUTE_UNKNOWN.code
        mesh.change("ingress", added("ingress"))
        mesh.change("planner", added("egress"))
        await mesh.said(IN_FORCE)
        await mesh.said(IN_FORCE, side="planner")
        assert (await mesh.echo("two", "second")).text == "two"
        mesh.change("ingress", taken_off)
        await mesh.said(IN_FORCE, times=2)
        assert (await mesh.echo("one")).reason == Reason.ROUTE_UNKNOWN.code
        assert (await mesh.echo("two", "second")).text == "two"


async def test_of_200_calls_that_are_under_way_a_reload_loses_none(folder: Path) -> None:
    """Both agents read their files, again and again, while all of them wait for the server."""
    waiting, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def later(message: Message, reply: Reply) -> None:
        waiting.release()
        await go_on.wait()
        await reply.send(ResponseHead(200, JSON), result_of(message, message["params"]["arguments"]["text"]))

    async with deployed(folder) as mesh:
        with mesh.server.answering(later):
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(mesh.echo(f"call {number}")) for number in range(IN_FLIGHT)]
                for _ in range(IN_FLIGHT):
                    await waiting.acquire()
                for round_ in range(1, 4):
                    mesh.site.write_policy(f"{POLICY}\n# {round_}\n")
                    mesh.site.sign_manifest()
                    for side, agent in mesh.agents.items():
                        agent.signal(signal.SIGHUP)
                        await asyncio.to_thread(_wait_for, folder / f"{side}.err", IN_FORCE, round_)
                go_on.set()
        assert [task.result().text for task in asked] == [f"call {number}" for number in range(IN_FLIGHT)]
        exchanges = [record for record in mesh.log.records() if record["kind"] == "exchange"]
        assert {record["outcome"] for record in exchanges} == {"completed"}
        assert len(mesh.reloads("completed")) >= 3


def _wait_for(log: Path, what: str, times: int) -> None:
    while log.read_text().count(what) < times:
        pass


async def test_a_file_that_is_written_by_halves_is_refused_once_and_taken_when_it_is_whole(
    folder: Path,
) -> None:
    async with deployed(folder) as mesh:
        whole = f"{POLICY}\n# longer\n"
        policy = folder / "policy.rego"
        with policy.open("w") as writer:
            writer.write(whole[: len(whole) // 2])
            writer.flush()
            await mesh.said(NOT_DONE)
            assert (await mesh.echo("on we go")).text == "on we go"
            writer.write(whole[len(whole) // 2 :])
        await mesh.said(IN_FORCE)
        assert (await mesh.echo("on we go")).text == "on we go"
        metrics = await mesh.admin.metrics()
        assert (metrics[SUCCESS], metrics[REFUSED], metrics[APPLIED]) == (1, 1, 1)


async def test_a_storm_of_changes_leaves_what_was_written_last(folder: Path) -> None:
    async with deployed(folder) as mesh:
        for number in range(300):
            replaced(folder / "policy.rego", NOBODY if number % 2 else "nonsense")
            mesh.agents["ingress"].signal(signal.SIGHUP)
            await asyncio.sleep(0)
        while "result" in (await mesh.echo("?")).document:
            pass
        await mesh.said(IN_FORCE)
        assert (await mesh.admin.readiness())[1]["warnings"] == []
        assert "Unknown tool" in str((await mesh.echo("no")).body)
