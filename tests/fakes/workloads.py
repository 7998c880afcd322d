"""Workloads with identities of the embedded provider, fetched over its Workload API.

async with provider_at(folder) as provider, workload(provider, AI_AGENT) as planner:
    planner.tls.connect(SERVER)     # TLS with the newest SVID and bundles

async with greeting(planner.tls, AllowedIds.only(AI_AGENT)) as server:   # a server of ours
    await server.met()              # the Peer or the Refused of the next connection
await asked(planner.tls, SERVER, server.address, b"GET / ...")           # a client of ours
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import AllowedIds, SpiffeId, TrustDomain
from spiffe_mcp.identity.sources.events import SourceEvent
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import ById
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol

TRUST_DOMAIN: Final = TrustDomain("mesh.test")
AI_AGENT: Final = SpiffeId(TRUST_DOMAIN, "/ai-agent/planner")
OTHER: Final = SpiffeId(TRUST_DOMAIN, "/ai-agent/other")
SERVER: Final = SpiffeId(TRUST_DOMAIN, "/mcp/desk")
ENTRIES: Final = (
    Entry(AI_AGENT, os.getuid()),
    Entry(OTHER, os.getuid(), hint="second"),
    Entry(SERVER, os.getuid(), hint="tool"),
)
WELCOME: Final = b"welcome"

_PATIENCE: Final = 10.0  # seconds for one event; only a failure takes so long


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  a test is a composition root


def provider_at(folder: Path) -> Provider:
    """A provider with all `ENTRIES` for the current user."""
    return Provider(TRUST_DOMAIN, folder / "api.sock", ENTRIES, clock=now)


# -- our identities -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """A workload whose identity follows the Workload API."""

    source: WorkloadApiSource

    @property
    def state(self) -> IdentityState:
        assert self.source.current is not None
        return self.source.current

    @property
    def tls(self) -> TlsIdentity:
        """TLS with the newest SVID and bundles."""
        return TlsIdentity(self.state, now)

    async def until(self, accepts: Callable[[IdentityState], bool]) -> IdentityState:
        """The state that `accepts` has waited for."""
        async with asyncio.timeout(_PATIENCE):
            async for state in self.source.states():
                if state is not None and accepts(state):
                    return state
        raise AssertionError("the states of a source never end")


@asynccontextmanager
async def workload(provider: Provider, spiffe_id: SpiffeId) -> AsyncIterator[Workload]:
    """The workload `spiffe_id`, ready."""
    source = WorkloadApiSource(provider.address, wanted=ById(spiffe_id), clock=now, on_event=_expected)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        try:
            async with asyncio.timeout(_PATIENCE):
                await source.wait_ready()
            yield Workload(source)
        finally:
            running.cancel()


def _expected(event: SourceEvent) -> None:
    """Whatever the source reports; what it lacks shows in its state."""


# -- a server of ours ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Greeter:
    """A server that says `WELCOME` to whom it lets in, and then goodbye."""

    address: str
    _outcomes: "asyncio.Queue[Peer | Refused]"

    async def met(self) -> Peer | Refused:
        """How the next connection began: with a peer, or with a refusal."""
        async with asyncio.timeout(_PATIENCE):
            return await self._outcomes.get()


@asynccontextmanager
async def greeting(identity: TlsIdentity, allowed: AllowedIds) -> AsyncIterator[Greeter]:
    """A greeter that shows `identity` and lets `allowed` in, on a port of the kernel's choice."""
    outcomes: asyncio.Queue[Peer | Refused] = asyncio.Queue()

    def secured(peer: Peer) -> "_Greeting":
        outcomes.put_nowait(peer)
        return _Greeting()

    def refused(_: object, refusal: Refused) -> None:
        outcomes.put_nowait(refusal)

    def protocol() -> TlsProtocol:
        return TlsProtocol(identity.accept(allowed), on_secured=secured, on_refused=refused)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Greeter(f"127.0.0.1:{port}", outcomes)
    finally:
        server.close()


class _Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(WELCOME)
        transport.close()


# -- a client of ours ---------------------------------------------------------------------------------------


async def asked(identity: TlsIdentity, server: SpiffeId, address: str, request: bytes) -> bytes:
    """What `server` answers until it says goodbye; raises the `Refused` that ended the connection instead."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def secured(_: Peer) -> "_Question":
        return _Question(request, answer)

    def refused(_: object, refusal: Refused) -> None:
        answer.set_exception(refusal)

    def protocol() -> TlsProtocol:
        return TlsProtocol(identity.connect(server), on_secured=secured, on_refused=refused)

    host, port = address.rsplit(":", 1)
    transport, _ = await loop.create_connection(protocol, host, int(port))
    try:
        async with asyncio.timeout(_PATIENCE):
            return await answer
    finally:
        transport.abort()


class _Question(asyncio.Protocol):
    """Sends the request the moment the server is known, and collects the answer."""

    def __init__(self, request: bytes, answer: "asyncio.Future[bytes]") -> None:
        self._request = request
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._answer.set_result(self._received)
        else:
            self._answer.set_exception(exc)
