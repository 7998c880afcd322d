"""One agent calls for many workloads, each by its own identity, and stands before a server by the server's.

On a fake broker, and on real SPIRE by each of its two ways to ask for the identities of others.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from spiffe_mcp.errors import Reason
from tests.fakes import spire
from tests.fakes.local_client import LocalClient
from tests.fakes.mcp_client import call
from tests.fakes.mesh import PLANNER, REVIEWER, SERVER
from tests.fakes.node import (
    PATIENCE,
    PLANNERS,
    REVIEWERS,
    STRANGERS,
    Node,
    fake_world,
    needs_root,
    running_node,
    spire_world,
)

pytestmark = needs_root
needs_spire = pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)
WORLDS = (
    pytest.param(fake_world, id="broker-fake"),
    *(
        pytest.param(partial(spire_world, source=source), id=f"{source}-spire", marks=needs_spire)
        for source in ("broker", "delegated")
    ),
)

CALLS = 40


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WORLDS)
async def node(request: Any, module_folder: Path) -> AsyncIterator[Node]:
    folder = Path(tempfile.mkdtemp(dir=module_folder))
    os.chmod(module_folder, 0o755)  # noqa: PTH101, S103  everybody may pass through
    async with request.param(folder) as world, running_node(folder, world) as running:
        yield running


async def said(client: LocalClient, text: str) -> str:
    return (await client.ask(call("echo", text=text))).text


async def many(client: LocalClient, name: str) -> None:
    for number in range(CALLS):
        assert await said(client, f"{name} {number}") == f"{name} {number}"


@pytest.mark.asyncio(loop_scope="module")
async def test_each_user_calls_by_its_own_identity_however_calls_are_mixed(node: Node) -> None:
    async with node.client(PLANNERS) as planner, node.client(REVIEWERS) as reviewer:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(many(planner, "planner"))
            tasks.create_task(many(reviewer, "reviewer"))
        pids = {planner.pid: str(PLANNER), reviewer.pid: str(REVIEWER)}
    sent = [record for record in node.log("egress").records() if record["decision"] == "allow"]
    named = {
        f"pid {pid} uid {uid} gid {uid}": pids[pid]
        for pid, uid in zip(pids, (PLANNERS, REVIEWERS), strict=True)
    }
    assert Counter(record["caller"] for record in sent if record["process"] in named) == dict.fromkeys(
        named.values(), CALLS
    )
    assert all(named[record["process"]] == record["caller"] for record in sent if record["process"] in named)
    by_txn = {record["txn"]: record["caller"] for record in sent}
    arrived = [record for record in node.log("ingress").records() if record.get("txn") in by_txn]
    assert len(arrived) == len(sent)
    for record in arrived:
        assert record["peer"] == record["caller"] == by_txn[record["txn"]]
        assert record["server"] == str(SERVER)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_user_without_an_entry_is_refused_and_recorded(node: Node) -> None:
    async with node.client(STRANGERS) as stranger:
        with node.server.untouched():
            answer = await stranger.ask(call("echo", text="let me in"))
        assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        record = node.log("egress").last()
        assert record["process"] == f"pid {stranger.pid} uid {STRANGERS} gid {STRANGERS}"
        assert (record["decision"], record["tool"]) == ("refuse", "echo")
        assert "caller" not in record


@pytest.mark.asyncio(loop_scope="module")
async def test_a_process_that_ends_takes_its_connection_with_it(node: Node) -> None:
    """Also the end that a child of it has inherited: the child is another process, and was not attested."""
    async with node.client(PLANNERS) as planner:
        assert await said(planner, "first") == "first"
        heir = await planner.hand_on()
        await planner.leave()
        await heir.cut()
        assert (await heir.ask(call("echo", text="mine?"))).text == "mine?", "attested anew, as itself"
        assert node.log("egress").last()["process"].startswith(f"pid {heir.pid} ")
        held = (await node.admin.metrics())["spiffe_mcp_identities"]
        await heir.leave()
        async with asyncio.timeout(PATIENCE):
            while (await node.admin.metrics())["spiffe_mcp_identities"] != held - 1:
                pass  # until its keys are dropped


@pytest.mark.asyncio(loop_scope="module")
async def test_a_deleted_entry_cuts_its_user_and_no_other_and_a_new_one_is_used(node: Node) -> None:
    async with node.client(PLANNERS) as planner, node.client(REVIEWERS) as reviewer:
        assert await said(planner, "before") == "before"
        assert await said(reviewer, "before") == "before"
        await node.world.entries.delete(PLANNER)
        async with asyncio.timeout(PATIENCE):
            await planner.cut()
        answer = await planner.ask(call("echo", text="after"))
        assert (answer.status, answer.reason) == (503, Reason.IDENTITY_UNAVAILABLE.code)
        assert await said(reviewer, "all the time") == "all the time"
        await node.world.entries.create(PLANNER, PLANNERS)
        async with asyncio.timeout(PATIENCE):
            while (answer := await planner.ask(call("echo", text="again"))).status == 503:
                pass  # each waits for the entry to arrive
        assert answer.text == "again"


@pytest.mark.asyncio(loop_scope="module")
async def test_an_ingress_is_nobody_while_its_server_does_not_run(node: Node) -> None:
    async with node.client(PLANNERS) as planner:
        assert await said(planner, "before") == "before"
        node.process.stop()
        async with asyncio.timeout(PATIENCE):
            while (answer := await planner.ask(call("echo", text="to nobody"))).status == 200:
                pass  # until the end of the process is known
        with node.server.untouched():
            answer = await planner.ask(call("echo", text="to nobody"))
        assert answer.reason == Reason.TLS_HANDSHAKE.code
        node.process.start()
        await node.call_passes()  # the PID file is looked at once a second
        assert await said(planner, "back") == "back"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_metrics_show_each_identity_that_the_node_holds(node: Node) -> None:
    async with node.client(PLANNERS) as planner, node.client(REVIEWERS) as reviewer:
        assert await said(planner, "hi") == await said(reviewer, "hi") == "hi"
        metrics = await node.admin.metrics()
    for identity in (PLANNER, REVIEWER):
        assert metrics[f'spiffe_mcp_svid_expiry_seconds{{spiffe_id="{identity}"}}'] > 0
    assert metrics["spiffe_mcp_ready"] == 1
    assert metrics["spiffe_mcp_connections"] >= 2
    assert metrics['spiffe_mcp_handshakes_total{result="completed",side="egress"}'] >= 2
