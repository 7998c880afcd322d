"""A SPIFFE agent, the registrations it has, and one workload of its node, behind each API that gives an SVID.

A test that is written against `World` runs on all of them: on the fakes of this file, and on a real SPIRE
(`tests/fakes/spire_world.py`). What only a fake can do, send a broken message say, is on `FakeWorld`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import grpc

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern
from spiffe_mcp.identity.sources.broker import BrokerSource
from spiffe_mcp.identity.sources.delegated import DelegatedSource
from spiffe_mcp.identity.sources.events import SourceEvent
from spiffe_mcp.identity.sources.reference import PidReference
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.sources.watcher import REFRESH
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import SvidPart, Update
from spiffe_mcp.identity.wanted import Wanted
from spiffe_mcp.tls.broker_link import RelayedBrokerLink
from tests.fakes.broker import FakeBroker
from tests.fakes.delegated import FakeDelegated
from tests.fakes.identity_source import FakeSource
from tests.fakes.mini_ca import NOW, MiniCa
from tests.fakes.streams import Script
from tests.fakes.watch import Clock, Watch
from tests.fakes.workload_api import FakeWorkloadApi, encoded

TRUST_DOMAIN: Final = "a.test"
PARTNER: Final = "b.test"
PID: Final = 4711
MESH_AGENT: Final = "/mesh-agent"
SPIRE_AGENTS: Final = AllowedIds((IdPattern.parse(f"spiffe://{TRUST_DOMAIN}/spire/agent/**"),))

Hear = Callable[[SourceEvent], None]


class World(Protocol):
    """One workload, and the SPIFFE agent that is asked for its identity."""

    partner: MiniCa
    """The authority of a federated trust domain."""

    def watching(self, wanted: Wanted) -> AbstractAsyncContextManager[Watch]:
        """A source of the workload's identity, running."""

    async def register(self, path: str, *, hint: str = "", federated: bool = False) -> None:
        """Entitle the workload to this SPIFFE ID."""

    async def unregister(self, path: str) -> None:
        """Take that back."""

    async def rotate(self, path: str) -> None:
        """Issue its SVID anew."""

    async def defederate(self) -> None:
        """Let nobody trust the partner any more."""

    async def kill(self) -> None:
        """End the SPIFFE agent without warning; its socket stays behind."""

    async def revive(self) -> None:
        """Start it again."""


async def _nothing() -> None:
    pass


@dataclass
class FakeApi:
    """One of the fakes, as a world needs it."""

    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    script: Script
    offer: Callable[[Update], None]
    source: Callable[[Wanted, Callable[[], datetime], Hear, timedelta], IdentitySource]
    malformed: Reason
    denied: Reason
    rejected: Reason
    nobody: Callable[[], None]
    beside: Callable[[], Coroutine[None, None, None]] = _nothing  # what runs beside the source


@dataclass
class _Entry:
    path: str
    hint: str
    federated: bool
    part: SvidPart


@dataclass
class FakeWorld:
    """A world on a fake. `api` is there for what only a fake can do."""

    api: FakeApi
    path: Path
    ca: MiniCa = field(default_factory=lambda: MiniCa(TRUST_DOMAIN))
    partner: MiniCa = field(default_factory=lambda: MiniCa(PARTNER))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    refresh: timedelta = REFRESH
    entries: list[_Entry] = field(default_factory=list)

    @asynccontextmanager
    async def watching(self, wanted: Wanted) -> AsyncIterator[Watch]:
        watch = Watch(lambda hear: self.api.source(wanted, self.clock, hear, self.refresh))
        async with watch.running():
            yield watch

    async def register(self, path: str, *, hint: str = "", federated: bool = False) -> None:
        self.entries.append(_Entry(path, hint, federated, self.part(path, hint)))
        self._publish()

    async def unregister(self, path: str) -> None:
        self.entries = [entry for entry in self.entries if entry.path != path]
        self._publish()

    async def rotate(self, path: str) -> None:
        for entry in self.entries:
            if entry.path == path:
                entry.part = self.part(path, entry.hint)
        self._publish()

    async def defederate(self) -> None:
        for entry in self.entries:
            entry.federated = False
        self._publish()

    async def kill(self) -> None:
        await self.api.stop()
        with socket.socket(socket.AF_UNIX) as left_behind:  # as a process that is killed leaves its own
            left_behind.bind(str(self.path))

    async def revive(self) -> None:
        self.path.unlink(missing_ok=True)
        await self.api.start()

    def part(self, path: str = "/w", hint: str = "") -> SvidPart:
        """An SVID as a sound agent sends it."""
        chain, key = self.ca.issue_der(path)
        spiffe_id = f"spiffe://{TRUST_DOMAIN}{path}"
        return SvidPart(spiffe_id, b"".join(chain), key, b"".join(self.ca.bundle_der), hint)

    def offer(self, *parts: SvidPart, federated: Mapping[str, bytes] | None = None) -> None:
        """Send these parts, good or bad; `federated` by the name of the trust domain."""
        bundles = {f"spiffe://{name}": der for name, der in (federated or {}).items()}
        self.api.offer(Update(parts, bundles))

    def _publish(self) -> None:
        if not self.entries:
            self.api.nobody()
            return
        federated = {PARTNER: b"".join(self.partner.bundle_der)}
        wants = any(entry.federated for entry in self.entries)
        self.offer(*(entry.part for entry in self.entries), federated=federated if wants else {})


def workload_api(folder: Path) -> FakeWorld:
    path = folder / "api.sock"
    fake = FakeWorkloadApi(path)

    def source(wanted: Wanted, clock: Callable[[], datetime], hear: Hear, _: timedelta) -> IdentitySource:
        return WorkloadApiSource(fake.address, wanted=wanted, clock=clock, on_event=hear)

    return FakeWorld(
        FakeApi(
            fake.start,
            fake.stop,
            fake.script,
            lambda update: fake.push(encoded(update)),
            source,
            Reason.WORKLOAD_API_MALFORMED,
            Reason.WORKLOAD_API_DENIED,
            Reason.WORKLOAD_API_REJECTED,
            nobody=lambda: fake.script.end(grpc.StatusCode.PERMISSION_DENIED),
        ),
        path,
    )


def broker(folder: Path) -> FakeWorld:
    now = datetime.now(UTC)  # noqa: TID251  OpenSSL's own check reads the real clock
    ca = MiniCa(TRUST_DOMAIN, now=now)
    path = folder / "broker.sock"
    fake = FakeBroker(path, ca)
    own = FakeSource()
    own.feed.publish(IdentityState(ca.issue(MESH_AGENT), BundleSet.from_der({TRUST_DOMAIN: ca.bundle_der})))
    link = RelayedBrokerLink(fake.address, own, server=SPIRE_AGENTS, clock=Clock(now), directory=folder)
    workload = PidReference(PID)

    def source(
        wanted: Wanted, clock: Callable[[], datetime], hear: Hear, refresh: timedelta
    ) -> IdentitySource:
        return BrokerSource(link, workload, wanted=wanted, clock=clock, on_event=hear, refresh=refresh)

    return FakeWorld(
        FakeApi(
            fake.start,
            fake.stop,
            fake.of(workload),
            lambda update: fake.offer(workload, update),
            source,
            Reason.BROKER_MALFORMED,
            Reason.BROKER_DENIED,
            Reason.BROKER_REJECTED,
            nobody=lambda: fake.offer(workload, Update(())),
            beside=link.run,
        ),
        path,
    )


def delegated(folder: Path) -> FakeWorld:
    path = folder / "admin.sock"
    # Another workload of the node federates with this one; ours does not.
    fake = FakeDelegated(path, {"stranger.test": b"".join(MiniCa("stranger.test").bundle_der)})

    def source(
        wanted: Wanted, clock: Callable[[], datetime], hear: Hear, refresh: timedelta
    ) -> IdentitySource:
        return DelegatedSource(fake.address, PID, wanted=wanted, clock=clock, on_event=hear, refresh=refresh)

    return FakeWorld(
        FakeApi(
            fake.start,
            fake.stop,
            fake.of(PID),
            lambda update: fake.offer(PID, update),
            source,
            Reason.DELEGATED_MALFORMED,
            Reason.DELEGATED_DENIED,
            Reason.DELEGATED_REJECTED,
            nobody=lambda: fake.offer(PID, Update(())),
        ),
        path,
    )


FAKES: Final[Mapping[str, Callable[[Path], FakeWorld]]] = {
    "workload-api": workload_api,
    "broker": broker,
    "delegated": delegated,
}


@asynccontextmanager
async def started(name: str, folder: Path) -> AsyncIterator[FakeWorld]:
    """A fake that runs, and knows the workload and no identity of it."""
    world = FAKES[name](folder)
    world.api.nobody()
    await world.api.start()
    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(world.api.beside())
        try:
            yield world
        finally:
            beside.cancel()
            await world.api.stop()
