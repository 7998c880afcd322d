"""A real SPIRE with a mesh agent and two workloads under two users, and the worlds that a test sees of it.

The test process is the mesh agent. It asks for the SVIDs of small processes of other users, which only root
can start; for everybody else, the worlds of the broker and of the Delegated Identity API skip.
"""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.identity.sources.broker import BrokerSource
from spiffe_mcp.identity.sources.delegated import DelegatedSource
from spiffe_mcp.identity.sources.events import SourceEvent
from spiffe_mcp.identity.sources.reference import PidReference
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.sources.watcher import REFRESH
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.wanted import ById, Wanted
from spiffe_mcp.tls.broker_link import RelayedBrokerLink
from tests.fakes import spire
from tests.fakes.mini_ca import MiniCa
from tests.fakes.watch import PATIENCE, Watch

TRUST_DOMAIN: Final = "a.test"
PARTNER: Final = "b.test"
MESH_AGENT: Final = f"spiffe://{TRUST_DOMAIN}/mesh-agent"
NODE: Final = f"spiffe://{TRUST_DOMAIN}/node"
SPIRE_AGENTS: Final = AllowedIds((IdPattern.parse(f"spiffe://{TRUST_DOMAIN}/spire/agent/**"),))
CONFIG: Final = spire.SCRIPT.parents[1] / "spire-config" / "agent.conf"


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  a test is a composition root


@dataclass
class Spire:
    """The server and the agent, and what `scripts/spire` keeps of them."""

    state: Path
    agent: "subprocess.Popen[bytes] | None" = None

    def socket(self, name: str) -> str:
        return f"unix://{self.state / name}"

    def server(self, *arguments: str) -> str:
        return _ran("spire-server", *arguments, "-socketPath", str(self.state / "server" / "api.sock"))

    def kill_agent(self) -> None:
        """SIGKILL: its sockets stay behind."""
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()
            self.agent = None
        else:
            pid = int((self.state / "agent" / "pid").read_text())
            os.kill(pid, 9)

    def start_agent(self) -> None:
        """Join anew: this SPIRE's keys are in memory."""
        said = self.server("token", "generate", "-spiffeID", NODE)
        token = self.state / "agent" / "token"
        token.write_text(re.search(r"Token: (\S+)", said)[1])  # type: ignore[index]  # a failure either way
        environment = {
            "SPIRE_STATE": str(self.state),
            "SPIRE_TRUST_DOMAIN": TRUST_DOMAIN,
            "SPIRE_MESH_AGENT": MESH_AGENT,
            "SPIRE_SERVER_PORT": (self.state / "server" / "port").read_text().strip(),
        }
        shutil.rmtree(self.state / "agent" / "keys", ignore_errors=True)
        (self.state / "agent" / "agent-data.json").unlink(missing_ok=True)
        self.agent = subprocess.Popen(
            [
                "spire-agent", "run", "-config", str(CONFIG), "-expandEnv",
                "-logFile", str(self.state / "agent" / "log"), "-joinTokenFile", str(token),
            ],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[Spire]:
    """SPIRE, whose one entry is that of the mesh agent, which is this user."""
    with spire.running_spire(
        folder, TRUST_DOMAIN, [(MESH_AGENT, os.getuid())], mesh_agent=MESH_AGENT
    ) as address:
        started = Spire(Path(address.removeprefix("unix://")).parents[1])
        try:
            yield started
        finally:
            if started.agent is not None:
                started.kill_agent()


@contextmanager
def process_of(uid: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of another user, that does nothing, and that is no longer ours when it is yielded.

    Not by `Popen(user=...)`: that forks, and gRPC's threads do not stand it (a child was seen that stayed as
    it was, under our own user, and so with our own identity).
    """
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    with subprocess.Popen(
        [*become, "/bin/sh", "-c", "echo ready; exec sleep 600"], cwd="/", stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def mesh_agent(running: Spire, path: str = "/mesh-agent") -> AsyncIterator[RelayedBrokerLink]:
    """The link of a mesh agent that has the identity of this path."""
    own = WorkloadApiSource(
        running.socket("public/agent.sock"),
        wanted=ById(SpiffeId.parse(f"spiffe://{TRUST_DOMAIN}{path}")),
        clock=now,
        on_event=lambda _: None,
    )
    link = RelayedBrokerLink(running.socket("broker/broker.sock"), own, server=SPIRE_AGENTS, clock=now)
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(own.run()), tasks.create_task(link.run())]
        async with asyncio.timeout(PATIENCE):
            await own.wait_ready()
        yield link
        for run in runs:
            run.cancel()


Make = Callable[[Wanted, Callable[[SourceEvent], None]], IdentitySource]


@dataclass
class SpireWorld:
    """One workload of a real SPIRE, as one of the APIs shows it. Its entries go with it."""

    spire: Spire
    uid: int
    make: Make
    entries: dict[str, str] = field(default_factory=dict)
    partner: MiniCa = field(default_factory=lambda: MiniCa(PARTNER, now=now()))

    @asynccontextmanager
    async def watching(self, wanted: Wanted) -> AsyncIterator[Watch]:
        watch = Watch(lambda hear: self.make(wanted, hear))
        async with watch.running():
            yield watch

    async def register(self, path: str, *, hint: str = "", federated: bool = False) -> None:
        if federated:
            await self._federate()
        said = await asyncio.to_thread(
            self.spire.server, "entry", "create", *self._entry(path), "-hint", hint,
            *(("-federatesWith", f"spiffe://{PARTNER}") if federated else ()),
        )  # fmt: skip
        self.entries[path] = re.search(r"Entry ID\s*: (\S+)", said)[1]  # type: ignore[index]  # a failure either way

    async def unregister(self, path: str) -> None:
        entry = self.entries.pop(path)
        await asyncio.to_thread(self.spire.server, "entry", "delete", "-entryID", entry)

    async def rotate(self, path: str) -> None:
        """An entry that has changed has its SVID issued anew."""
        entry = self.entries[path]
        await asyncio.to_thread(
            self.spire.server,
            "entry",
            "update",
            "-entryID",
            entry,
            *self._entry(path),
            "-x509SVIDTTL",
            "1800",
        )

    async def defederate(self) -> None:
        await asyncio.to_thread(
            self.spire.server, "bundle", "delete", "-id", f"spiffe://{PARTNER}", "-mode", "dissociate"
        )

    async def kill(self) -> None:
        await asyncio.to_thread(self.spire.kill_agent)

    async def revive(self) -> None:
        await asyncio.to_thread(self.spire.start_agent)

    async def close(self) -> None:
        for path in list(self.entries):
            await self.unregister(path)

    def _entry(self, path: str) -> tuple[str, ...]:
        selector = f"unix:uid:{self.uid}"
        return ("-parentID", NODE, "-spiffeID", f"spiffe://{TRUST_DOMAIN}{path}", "-selector", selector)

    async def _federate(self) -> None:
        bundle = self.spire.state / "partner.pem"
        bundle.write_text("".join(map(ssl.DER_cert_to_PEM_cert, self.partner.bundle_der)))
        await asyncio.to_thread(
            self.spire.server, "bundle", "set", "-id", f"spiffe://{PARTNER}", "-path", str(bundle)
        )


@asynccontextmanager
async def world(running: Spire, api: str) -> AsyncIterator[SpireWorld]:
    """A workload without an identity, as `api` shows it: this process itself, or one of another user."""
    if api == "workload-api":
        address = running.socket("public/agent.sock")

        def own(wanted: Wanted, hear: Callable[[SourceEvent], None]) -> IdentitySource:
            return WorkloadApiSource(address, wanted=wanted, clock=now, on_event=hear)

        made = SpireWorld(running, os.getuid(), own)
        try:
            yield made
        finally:
            await made.close()
        return
    if os.getuid() != 0:
        pytest.skip("only root can start processes of other users")
    with process_of(1001) as process:
        async with mesh_agent(running) as link:
            made = SpireWorld(running, 1001, of_process(running, link, process.pid)[api])
            try:
                yield made
            finally:
                await made.close()


def of_process(running: Spire, link: RelayedBrokerLink, pid: int) -> dict[str, Make]:
    """The sources of one process' identity, by API."""
    admin = running.socket("admin/admin.sock")
    return {
        "broker": lambda wanted, hear: BrokerSource(
            link, PidReference(pid), wanted=wanted, clock=now, on_event=hear, refresh=REFRESH
        ),
        "delegated": lambda wanted, hear: DelegatedSource(
            admin, pid, wanted=wanted, clock=now, on_event=hear, refresh=REFRESH
        ),
    }


def _ran(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stderr}"
    return ran.stdout
