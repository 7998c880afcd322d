"""A node: an ingress and an egress agent that have the identities of many workloads, by whatever gives them.

    async with spire_world(folder, "broker") as world, running_node(folder, world) as node:
        async with node.client(1001) as planner:
            answer = await planner.ask(call("echo", text="hi"))
        node.log("ingress").records()

Users: `PLANNERS` and `REVIEWERS` have an identity, `STRANGERS` none; the MCP server is a process of
`SERVERS`. Needs root, to start processes of other users.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
import yaml

from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands, spire
from tests.fakes.admin import Admin, with_admin
from tests.fakes.broker import AttestingBroker
from tests.fakes.local_client import LocalClient, local_client
from tests.fakes.mcp_client import call, now
from tests.fakes.mcp_server import RecordingServer, serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, REVIEWER, SERVER, TRUST_DOMAIN, USER, Log, Site
from tests.fakes.mini_ca import MiniCa
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

MESH_AGENT: Final = SpiffeId(TRUST_DOMAIN, "/mesh-agent")
PLANNERS: Final = 1001
REVIEWERS: Final = 1002
SERVERS: Final = 1003
STRANGERS: Final = 1004
SPIRE_AGENTS: Final = f"spiffe://{TRUST_DOMAIN}/spire/agent/**"
IDENTITIES: Final = {PLANNERS: PLANNER, REVIEWERS: REVIEWER, SERVERS: SERVER, os.getuid(): MESH_AGENT}

PATIENCE: Final = 60.0  # seconds for one event; only a failure takes so long
needs_root: Final = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can start processes of other users"
)


class Entries(Protocol):
    """The registration entries of whatever gives identities."""

    async def delete(self, identity: SpiffeId) -> None:
        """Nobody is `identity` any more."""

    async def create(self, identity: SpiffeId, uid: int) -> None:
        """Processes of this user are `identity`."""


@dataclass(frozen=True)
class World:
    """What gives identities: the section `identity` of an agent's configuration."""

    identity: dict[str, Any]
    entries: Entries


@dataclass(frozen=True)
class SpireWorld(World):
    """Real SPIRE, and its server's interface."""

    server: "SpireServer"


class SpireServer:
    """The registration entries and the authorities of a real SPIRE server."""

    def __init__(self, state: Path) -> None:
        self._socket = state / "server" / "api.sock"

    async def delete(self, identity: SpiffeId) -> None:
        """Nobody is `identity` any more."""
        shown = await self._told("show", "-spiffeID", str(identity), "-output", "json")
        for entry in json.loads(shown)["entries"]:
            await self._told("delete", "-entryID", entry["id"])

    async def create(self, identity: SpiffeId, uid: int) -> None:
        """Processes of this user are `identity`."""
        node = f"spiffe://{identity.trust_domain}/node"
        selector = f"unix:uid:{uid}"
        await self._told("create", "-parentID", node, "-spiffeID", str(identity), "-selector", selector)

    async def authorities(self) -> Any:
        """The X.509 authorities by state: `active`, `prepared`, `old`."""
        return json.loads(await self._ran("localauthority", "x509", "show", "-output", "json"))

    async def prepare_authority(self) -> str:
        """A further authority, in the bundle and not signing yet; its ID."""
        said = json.loads(await self._ran("localauthority", "x509", "prepare", "-output", "json"))
        return str(said["prepared_authority"]["authority_id"])

    async def authority(self, command: str, authority_id: str) -> None:
        """`activate`, `taint` or `revoke` one X.509 authority."""
        await self._ran("localauthority", "x509", command, "-authorityID", authority_id)

    async def _told(self, command: str, *arguments: str) -> bytes:
        return await self._ran("entry", command, *arguments)

    async def _ran(self, *command: str) -> bytes:
        asked = ["spire-server", *command, "-socketPath", str(self._socket)]
        process = await asyncio.create_subprocess_exec(*asked, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        return output


def _identity(source: str, address: str, way: dict[str, str]) -> dict[str, Any]:
    return {"source": source, "socket": address, "spiffe_id": str(MESH_AGENT), source: way}


def broker_identity(address: str, broker: str) -> dict[str, Any]:
    """The section `identity` of a node's agent that asks a broker."""
    return _identity("broker", address, {"socket": broker, "server": SPIRE_AGENTS})


@asynccontextmanager
async def spire_world(folder: Path, source: str) -> AsyncIterator[SpireWorld]:
    """Real SPIRE, which knows workloads by their user."""
    entries = [(str(identity), uid) for uid, identity in IDENTITIES.items()]
    running = spire.running_spire(folder, str(TRUST_DOMAIN), entries)
    address = await asyncio.to_thread(running.__enter__)
    state = address.removesuffix("/public/agent.sock")
    try:
        server = SpireServer(Path(state.removeprefix("unix://")))
        if source == "broker":
            identity = broker_identity(address, f"{state}/broker/broker.sock")
        else:
            identity = _identity(source, address, {"socket": f"{state}/admin/admin.sock"})
        yield SpireWorld(identity, server, server)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@asynccontextmanager
async def fake_world(folder: Path) -> AsyncIterator[World]:
    """Fakes, for machines without SPIRE: they know workloads by their user, as SPIRE does."""
    ca = MiniCa(str(TRUST_DOMAIN), now=now())
    async with (
        FakeWorkloadApi(folder / "api.sock") as api,
        AttestingBroker(folder / "broker.sock", ca, IDENTITIES) as broker,
    ):
        api.push(message([svid_part(ca, MESH_AGENT.path)]))
        yield World(broker_identity(api.address, broker.address), broker)


class ServerProcess:
    """The process whose identity the ingress has. What it does besides is another's affair."""

    def __init__(self, folder: Path) -> None:
        self.pid_file = folder / "server.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """A new one, which writes its PID file; returns its PID."""
        command = ["setpriv", f"--reuid={SERVERS}", f"--regid={SERVERS}", "--clear-groups", "cat"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        status = Path(f"/proc/{self._process.pid}/status")
        while f"Uid:\t{SERVERS}\t{SERVERS}" not in status.read_text():
            pass
        self.pid_file.write_text(f"{self._process.pid}\n")
        return self._process.pid

    def stop(self) -> None:
        """It ends; its PID file stays, as after a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass
class Node:
    """A node that is up."""

    site: Site
    world: World
    server: RecordingServer
    process: ServerProcess
    ingress: Address
    egress: Path
    admin: Admin  # of the egress's agent

    def client(self, uid: int) -> AbstractAsyncContextManager[LocalClient]:
        """A workload of this user."""
        return local_client(self.egress, uid)

    async def call_passes(self) -> None:
        """Return once a call does: the agents are ready when they themselves have an identity."""
        async with self.client(PLANNERS) as planner, asyncio.timeout(PATIENCE):
            while (await planner.ask(call("echo", text="ready?"))).status != HTTPStatus.OK:
                pass

    def log(self, side: str) -> Log:
        """The log of `ingress` or `egress`."""
        return Log(self.site.folder / f"{side}.jsonl")


def _write(site: Site, side: str, identity: dict[str, Any], part: dict[str, Any]) -> Path:
    path = site.folder / f"{side}.yaml"
    audit = {"file": f"{side}.jsonl", "fsync": "never"}
    path.write_text(yaml.safe_dump({"identity": identity, side: part, "audit": audit}, sort_keys=False))
    return path


def ingress_config(site: Site, identity: dict[str, Any], upstream: str, workload: dict[str, Any]) -> Path:
    """As `workload` is, before the MCP server at `upstream`."""
    ingress = {
        "listen": "127.0.0.1:0",
        "spiffe_id": str(SERVER),
        "workload": workload,
        "peers": [str(PLANNER), str(REVIEWER)],
        "servers": [{"name": "desk", "upstream": upstream, "manifest": "manifest.json"}],
        "trust_policy": "trust.json",
        "policy": ["policy.rego"],
        "recheck": site.recheck,
    }
    return _write(site, "ingress", identity, ingress)


def egress_config(site: Site, world: World, ingress: Address) -> Path:
    """For every process that connects to its socket."""
    servers = [{"name": "desk", "spiffe_id": str(SERVER), "address": str(ingress)}]
    egress = {"listen": f"unix:{site.folder}/egress.sock", "user": USER, "servers": servers}
    return with_admin(_write(site, "egress", world.identity, egress))


async def _agent(stack: AsyncExitStack, config: Path) -> Any:
    """A process of its own, as agents are: what it says once it serves."""
    running = commands.running("agent", "--config", config, log=config.with_suffix(".err"))
    return await (await stack.enter_async_context(running)).ready()


@asynccontextmanager
async def running_node(folder: Path, world: World) -> AsyncIterator[Node]:
    """The node; the MCP server's process runs."""
    os.chmod(folder, 0o755)  # noqa: PTH101, S103  everybody may reach the egress
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    process = ServerProcess(folder)
    process.start()
    async with AsyncExitStack() as stack:
        stack.callback(process.stop)
        server = await stack.enter_async_context(serving_mcp(LIVE))
        config = ingress_config(site, world.identity, server.url, {"pid_file": str(process.pid_file)})
        announced = await _agent(stack, config)
        ingress = Address.parse(announced["ingress"])
        announced = await _agent(stack, egress_config(site, world, ingress))
        node = Node(
            site,
            world,
            server,
            process,
            ingress,
            Path(announced["egress"]),
            Admin(f"http://{announced['admin']}"),
        )
        await node.call_passes()
        yield node
