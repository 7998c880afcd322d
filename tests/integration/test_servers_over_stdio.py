"""An MCP server that speaks stdio is called through two agents as any other, and learns nothing of them."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.mesh.addresses import Address
from tests.fakes import stdio_program
from tests.fakes.mcp_client import Plain, call, initialize, legacy
from tests.fakes.mesh import Log, Site, provider_at, running_agent
from tests.fakes.streaming import until

PROGRAM = [sys.executable, str(Path(stdio_program.__file__))]


@asynccontextmanager
async def behind_two_agents(folder: Path, **upstream: Any) -> AsyncIterator[Plain]:
    """A client of an egress that leads to an ingress before the program."""
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with provider_at(folder) as provider:
        config = site.ingress_config(provider.address, {"stdio": PROGRAM, **upstream})
        async with running_agent(config) as ingress:
            config = site.egress_config(provider.address, str(ingress.ingress))
            async with running_agent(config) as egress:
                assert isinstance(egress.egress, Address)
                client = Plain(egress.egress)
                yield client
                client.close()


async def said(client: Plain, text: str) -> str:
    return (await client.ask(call("echo", text=text))).text


async def legacy_pid(client: Plain) -> str:
    """The process that a new legacy session speaks to."""
    opened = await client.ask(initialize())
    session = dict(opened.headers)[b"mcp-session-id"]
    await client.ask(legacy("notifications/initialized", message_id=None, session=session))
    called = legacy("tools/call", {"name": "echo", "arguments": {"text": "pid"}}, session=session)
    return (await client.ask(called)).text


async def test_it_is_called_and_every_decision_is_made_as_elsewhere(folder: Path) -> None:
    async with behind_two_agents(folder) as client:
        assert await said(client, "hi") == "hi"
        hidden = await client.ask(call("hidden", text="hi"))
        assert hidden.document["error"]["message"] == "Unknown tool: hidden"
        assert "error" in (await client.ask(call("pay", text="hi"))).document
    records = Log(folder / "ingress.jsonl").records()
    assert [record["decision"] for record in records if record.get("tool")][:1] == ["allow"]


async def test_it_learns_nothing_of_the_agent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "of the agent")
    async with behind_two_agents(folder, env={"GIVEN": "chosen"}) as client:
        environment = json.loads(await said(client, "env"))
        opened = {int(Path(name).name) for name in json.loads(await said(client, "fds"))}
    assert environment.keys() <= {"PATH", "HOME", "LANG", "GIVEN", "LC_CTYPE"}
    assert environment["GIVEN"] == "chosen"
    assert opened - {0, 1, 2} <= {3}, "besides its pipes the folder that it reads"


def exists(pid: int) -> bool:
    """Also while it has ended, and its parent has not been told."""
    return Path(f"/proc/{pid}").exists()


async def test_one_that_is_killed_is_started_again(folder: Path) -> None:
    async with behind_two_agents(folder) as client:
        pid = int(await said(client, "pid"))
        crashed = await client.ask(call("echo", text="crash"))
        assert crashed.status == 503
        again = int(await said(client, "pid"))
        os.kill(again, signal.SIGKILL)
        await until(
            lambda: not exists(again)
        )  # the agent has seen it: until then a call is still given to it
        assert len({pid, again, int(await said(client, "pid"))}) == 3


async def test_one_that_is_killed_in_the_middle_of_a_call_says_so(folder: Path) -> None:
    async with behind_two_agents(folder) as client:
        pid = int(await said(client, "pid"))
        killed = await client.ask(call("echo", text="kill"))
        assert (killed.status, killed.reason) == (503, "stdio.ended")
        record = Log(folder / "ingress.jsonl").last()
        assert (record["outcome"], record["reason"]) == ("refused", "stdio.ended")
        assert int(await said(client, "pid")) != pid
    asked = [record for record in Log(folder / "ingress.jsonl").records() if record.get("tool")]
    assert len(asked) == 3


async def test_a_stream_that_its_process_leaves_ends_with_an_error(folder: Path) -> None:
    async with behind_two_agents(folder) as client:
        await said(client, "hi")
        left = await client.ask(call("echo", text="note-and-kill"))
        *_, last = left.body.decode().strip().split("\n\n")
        assert json.loads(last.partition("data: ")[2])["error"]["data"] == {"reason": "upstream.broken"}
        record = Log(folder / "ingress.jsonl").last()
        assert (record["outcome"], record["reason"]) == ("refused", "upstream.broken")
        assert await said(client, "on we go") == "on we go"


async def test_nobody_is_served_by_one_that_cannot_be_started(folder: Path) -> None:
    async with behind_two_agents(folder, stdio=["no-such-command"]) as client:
        assert (await client.ask(call("echo", text="hi"))).status == 503
    record = Log(folder / "ingress.jsonl").last()
    assert (record["decision"], record["reason"]) == ("refuse", "stdio.not_started")


async def test_no_process_is_left_when_the_agents_end(folder: Path) -> None:
    async with behind_two_agents(folder) as client:
        pid = int(await said(client, "pid"))
        assert exists(pid)
    assert not exists(pid)


@pytest.mark.parametrize(("processes", "differ"), [("session", True), ("shared", False)])
async def test_a_legacy_session_has_a_process_of_its_own_or_shares_one(
    folder: Path, processes: str, differ: bool
) -> None:
    async with behind_two_agents(folder, processes=processes) as client:
        pids = [await legacy_pid(client), await legacy_pid(client)]
    assert (pids[0] != pids[1]) is differ
