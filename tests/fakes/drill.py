"""What every drill has: two agents on Workload APIs of whatever make, calls without a pause, and a watcher.

    async with mesh_on(folder, ingress_api, egress_api) as mesh, traffic(mesh.client) as calls:
        await calls.more(20)                    # so many more have been answered
        ...                                     # rotate, revoke, kill, restart
        assert calls.failed == []

    async with watching(address, SERVER) as identity:
        await identity.until(lambda state: len(state.bundles.bundles) == 2)

Nothing here sleeps, and nothing knows which provider stands behind an address.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
import yaml

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request
from spiffe_mcp.identity import BundleSet, SpiffeId, X509Svid, verify_chain
from spiffe_mcp.identity.sources.events import Disconnected, Reconnected, SourceEvent, Updated
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import ById
from spiffe_mcp.mesh import recording
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.local_client import LocalClient
from tests.fakes.mcp_client import Plain, call, now
from tests.fakes.mcp_server import (
    STREAM,
    Message,
    RecordingServer,
    echo,
    event,
    result_of,
    serving_mcp,
)
from tests.fakes.mesh import LIVE, PLANNER, SERVER, Log, Site, running_agent
from tests.fakes.mini_ca import Presented, pkcs8_of
from tests.fakes.raw_tls import RawServer, RawTls

PATIENCE: Final = 30.0  # seconds for one thing to come about; only a failure takes so long
WORKERS: Final = 3  # calls at the same time
CUT_PATIENCE: Final = 15.0  # seconds until a connection is cut whose peer is trusted no more
_NOBODY_S_PATH: Final = b"GET /nobody HTTP/1.1\r\nhost: mesh.test\r\n\r\n"
_CUT: Final = {
    (one.status.value, one.code)
    for one in (Reason.CHAIN_UNTRUSTED, Reason.TLS_TRUNCATED, Reason.TLS_HANDSHAKE)
}
_PROBE_S_PATH: Final = b"/probe/mcp"
CALL_PATIENCE: Final = 10.0  # seconds for one answer; what is slower hangs


@dataclass(kw_only=True)
class DrillMesh:
    """An ingress before a recording server, and an egress that leads to it."""

    folder: Path
    ingress: Address
    server: RecordingServer
    client: Plain
    probe: RawServer  # where the egress's route `PROBE` leads
    shown: "asyncio.Queue[bytes]"  # the leaves that the egress shows there

    async def show(self, caller: X509Svid, server: X509Svid) -> None:
        """Wait until both agents show these in every new handshake: each learns of them in its own time."""
        async with asyncio.timeout(PATIENCE):
            while await self._shown_by_the_ingress() != server.chain_der[0]:
                pass
            while await self._shown_by_the_egress(server) != caller.chain_der[0]:
                pass

    async def _shown_by_the_ingress(self) -> bytes:
        peer = await RawTls.connect(self.ingress.host, self.ingress.port, Presented((), b""))
        peer.abort()
        return peer.peer_chain[0]

    async def _shown_by_the_egress(self, server: X509Svid) -> bytes:
        """It shows itself only to the server that it expects."""
        self.probe.presented = Presented(server.chain_der, pkcs8_of(server.key))
        request = call("echo", text="who are you?")
        await self.client.ask(Request(request.method, _PROBE_S_PATH, request.headers, request.body))
        return await self.shown.get()

    def log(self, side: str) -> Log:
        """The log of `ingress` or `egress`."""
        return Log(self.folder / f"{side}.jsonl")


@asynccontextmanager
async def mesh_on(
    folder: Path,
    ingress_api: str,
    egress_api: str,
    caller: SpiffeId = PLANNER,
    ingress_clock: Callable[[], datetime] = now,
    egress_clock: Callable[[], datetime] = now,
) -> AsyncIterator[DrillMesh]:
    """Both agents, ready; `SERVER` admits `caller` and nobody else."""
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(recording, "HANDSHAKE_RECORDS", 10**6)  # here each of them counts
        server = await stack.enter_async_context(serving_mcp(LIVE))
        config = _admitting(site.ingress_config(ingress_api, server.url), caller)
        ingress = await stack.enter_async_context(running_agent(config, ingress_clock))
        assert isinstance(ingress.ingress, Address)
        shown: asyncio.Queue[bytes] = asyncio.Queue()
        probe = await stack.enter_async_context(RawServer().serving(_noting(shown)))
        config = site.egress_config(egress_api, str(ingress.ingress), caller, log="egress")
        config = _probing(config, probe.port)
        egress = await stack.enter_async_context(running_agent(config, egress_clock))
        assert isinstance(egress.egress, Address)
        client = Plain(egress.egress)
        stack.callback(client.close)
        yield DrillMesh(
            folder=folder, ingress=ingress.ingress, server=server, client=client, probe=probe, shown=shown
        )


def _admitting(config: Path, caller: SpiffeId) -> Path:
    document = yaml.safe_load(config.read_text())
    document["ingress"]["peers"] = [str(caller)]
    config.write_text(yaml.safe_dump(document))
    return config


def _probing(config: Path, port: int) -> Path:
    """A second route, to the same server by its ID, at another address."""
    document = yaml.safe_load(config.read_text())
    (server,) = document["egress"]["servers"]
    document["egress"]["servers"].append({**server, "name": "probe", "address": f"127.0.0.1:{port}"})
    config.write_text(yaml.safe_dump(document))
    return config


def _noting(shown: "asyncio.Queue[bytes]") -> Callable[[RawTls], Awaitable[None]]:
    """Answers once, notes who asked, and lets go, so that the next call is a new handshake."""

    async def answer(peer: RawTls) -> None:
        shown.put_nowait(peer.peer_chain[0])
        await peer.read()
        await peer.send(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    return answer


# -- traffic ------------------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """Calls, one after another by each worker. `failed` holds what went wrong: a status and a reason."""

    answered: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, number: int) -> None:
        """Wait until so many more calls have been answered well."""
        wanted = self.answered + number
        await self._until(lambda: self.answered >= wanted)

    async def fails(self) -> tuple[int, str]:
        """The next failure."""
        known = len(self.failed)
        await self._until(lambda: len(self.failed) > known)
        return self.failed[known]

    def none_but_cut(self) -> None:
        """Nothing has failed but calls that were under way on a connection of a revoked authority.

        A hop that was made while only one of its ends had a new SVID is such a one, and is cut with the rest.
        """
        assert set(self.failed) <= _CUT
        assert len(self.failed) <= WORKERS

    async def told(self, reason: Reason) -> None:
        """Wait until a call fails for this reason: those that were under way may have had another."""
        while await self.fails() != (reason.status, reason.code):
            pass

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self._progress.wait()
                    self._progress.clear()
        except TimeoutError:
            last = self.failed[-1] if self.failed else "no call at all"
            raise AssertionError(f"{self.answered} answered, {len(self.failed)} failed: {last}") from None

    async def work(self, client: Plain | LocalClient, text: str) -> None:
        while True:
            await self._call(client, text)
            self._progress.set()

    async def _call(self, client: Plain | LocalClient, text: str) -> None:
        try:
            async with asyncio.timeout(CALL_PATIENCE):
                answer = await client.ask(call("echo", text=text))
        except TimeoutError:
            self.failed.append((0, "no answer"))
            return
        except Refused as refused:  # the client's own connection to the egress
            self.failed.append((0, refused.reason.code))
            return
        except ConnectionError as cut:
            self.failed.append((0, str(cut)))
            return
        if answer.status == 200 and answer.text == text:
            self.answered += 1
        else:
            self.failed.append((answer.status, answer.reason))


@asynccontextmanager
async def traffic(client: Plain, workers: int = WORKERS) -> AsyncIterator[Traffic]:
    """Calls without a pause, until the block ends; at least one has been answered when it begins."""
    calls = Traffic()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(calls.work(client, f"from {number}")) for number in range(workers)]
        try:
            await calls.more(1)
            yield calls
        finally:
            for task in running:
                task.cancel()


@dataclass(frozen=True)
class LongAnswer:
    """A stream that goes on for as long as the test wants it to."""

    _wanted: "asyncio.Queue[str]"
    _chunks: AsyncIterator[bytes]

    async def piece(self) -> None:
        """One more event, through both agents."""
        text = f"piece {uuid4()}"
        self._wanted.put_nowait(text)
        await self.reads(text)

    async def reads(self, text: str) -> None:
        """Read on until this has come."""
        seen = b""
        async with asyncio.timeout(CALL_PATIENCE):
            while text.encode() not in seen:
                seen += await anext(self._chunks)


@asynccontextmanager
async def long_answer(mesh: DrillMesh) -> AsyncIterator[LongAnswer]:
    """A call whose answer has begun, and lasts as long as the block."""
    wanted: asyncio.Queue[str] = asyncio.Queue()

    async def stream(message: Message, reply: Reply) -> None:
        if message["params"]["arguments"]["text"] != "for long":
            await echo(message, reply)
            return
        await reply.start(STREAM)
        while text := await wanted.get():
            said = {"level": "info", "data": text}
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": said}
            await reply.write(event(json.dumps(note).encode()))
        await reply.write(event(result_of(message, "at last")))
        reply.finish()

    with mesh.server.answering(stream):
        async with await mesh.client.begin(call("echo", text="for long")) as response:
            answer = LongAnswer(wanted, aiter(response))
            yield answer
            wanted.put_nowait("")
            await answer.reads("at last")


# -- watching -----------------------------------------------------------------------------------------------


@dataclass
class Watcher:
    """The identity of one workload as it changes, and what its source reported."""

    source: WorkloadApiSource
    events: list[SourceEvent]
    _news: asyncio.Event

    @property
    def state(self) -> IdentityState:
        assert self.source.current is not None
        return self.source.current

    async def until(self, accepts: Callable[[IdentityState], bool]) -> IdentityState:
        """The first state that `accepts` likes, now or later."""
        async with asyncio.timeout(PATIENCE):
            async for state in self.source.states():
                if state is not None and accepts(state):
                    return state
        raise AssertionError("the states of a source never end")

    async def reported(self, kind: type[SourceEvent]) -> None:
        """Wait until the last report is of this kind."""
        async with asyncio.timeout(PATIENCE):
            while not (self.events and isinstance(self.events[-1], kind)):
                self._news.clear()
                await self._news.wait()

    async def newer_than(self, former: IdentityState) -> IdentityState:
        """The first state with another SVID."""
        return await self.until(lambda state: state.svid.chain_der != former.svid.chain_der)


@asynccontextmanager
async def watching(
    address: str, spiffe_id: SpiffeId, clock: Callable[[], datetime] = now
) -> AsyncIterator[Watcher]:
    """A source of its own beside the agents'."""
    events: list[SourceEvent] = []
    news = asyncio.Event()

    def reported(event: SourceEvent) -> None:
        events.append(event)
        news.set()

    source = WorkloadApiSource(address, wanted=ById(spiffe_id), clock=clock, on_event=reported)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await source.wait_ready()
            yield Watcher(source, events, news)
        finally:
            running.cancel()


async def becomes_ready(folder: Path, address: str, serve: Callable[[], Awaitable[None]]) -> None:
    """An agent that finds nobody at `address` waits, and serves soon after `serve` has begun to."""
    news: asyncio.Queue[SourceEvent] = asyncio.Queue()
    source = WorkloadApiSource(address, wanted=ById(PLANNER), clock=now, on_event=news.put_nowait)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(_ready(Site(folder).egress_config(address, "127.0.0.1:1")))
        waiting = tasks.create_task(source.run())
        assert isinstance(await news.get(), Disconnected)
        assert not starting.done()
        await serve()
        assert await starting == PLANNER
        assert isinstance(await news.get(), Reconnected)
        assert isinstance(await news.get(), Updated)
        waiting.cancel()


async def _ready(config: Path) -> SpiffeId:
    """Whom an agent serves as, once it does."""
    async with running_agent(config) as agent:
        return agent.spiffe_id


def signed_by(state: IdentityState, authority_der: bytes) -> bool:
    """Whether the SVID leads to this authority."""
    alone = BundleSet.from_der({str(state.svid.spiffe_id.trust_domain): [authority_der]})
    try:
        verify_chain(state.svid.chain_der, alone, now())
    except Refused:
        return False
    return True


def authorities(state: IdentityState, trust_domain: str = "") -> tuple[bytes, ...]:
    """The authorities of a trust domain, by default of the workload's own; none if there is no bundle."""
    name = trust_domain or str(state.svid.spiffe_id.trust_domain)
    return next((one.authorities_der for one in state.bundles.bundles if str(one.trust_domain) == name), ())


# -- a connection by hand -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """A connection of a peer that was let in, and says nothing more."""

    peer: RawTls

    async def cut(self) -> None:
        """Wait until the other side ends it."""
        async with asyncio.timeout(CUT_PATIENCE):
            await self.peer.ends()


@asynccontextmanager
async def held_open(ingress: Address, svid: X509Svid) -> AsyncIterator[Held]:
    """A connection with `svid` that has been answered once, and stays."""
    peer = await RawTls.connect(ingress.host, ingress.port, Presented(svid.chain_der, pkcs8_of(svid.key)))
    try:
        await peer.send(_NOBODY_S_PATH)
        async with asyncio.timeout(PATIENCE):
            answer = await peer.read()
            while not answer.endswith(b"}"):
                answer += await peer.read()
        assert answer.startswith(b"HTTP/1.1 404 ")
        yield Held(peer)
    finally:
        peer.abort()


async def refusal_of(mesh: DrillMesh, svid: X509Svid) -> Reason:
    """Why a new connection with `svid` is refused, as the ingress has recorded it."""
    peer = await RawTls.connect(
        mesh.ingress.host, mesh.ingress.port, Presented(svid.chain_der, pkcs8_of(svid.key))
    )
    try:
        async with asyncio.timeout(PATIENCE):
            await peer.ends()
    finally:
        peer.abort()
    (code,) = [
        record["reason"] for record in mesh.log("ingress").records() if record["peer_address"] == peer.address
    ]
    return next(reason for reason in Reason if reason.code == code)


__all__ = [
    "SERVER",
    "WORKERS",
    "DrillMesh",
    "Held",
    "Traffic",
    "Watcher",
    "authorities",
    "becomes_ready",
    "held_open",
    "long_answer",
    "mesh_on",
    "refusal_of",
    "signed_by",
    "traffic",
    "watching",
]
