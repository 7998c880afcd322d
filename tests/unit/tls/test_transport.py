"""The adapter on real sockets: timeouts, refusals reported once, ends told apart, back-pressure."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.tls import HandshakeSlots, Peer, TlsIdentity, TlsProtocol, TlsSession
from tests.fakes.mini_ca import MiniCa
from tests.unit.tls.ends import NOW, allowed, identity


class Inside(asyncio.Protocol):
    """The protocol inside, remembering what it was told."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.made = asyncio.Event()
        self.lost = asyncio.Event()
        self.arrived = asyncio.Event()
        self.why: Exception | None = None
        self.data = bytearray()
        self.paused: list[str] = []
        self.eofs = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("TlsProtocol", transport)
        self.made.set()

    def data_received(self, data: bytes) -> None:
        assert not self.lost.is_set()
        self.data += data
        self.arrived.set()

    def eof_received(self) -> bool:
        self.eofs += 1
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost.is_set()
        self.why = exc
        self.lost.set()

    def pause_writing(self) -> None:
        self.paused.append("pause")

    def resume_writing(self) -> None:
        self.paused.append("resume")

    async def read(self, size: int) -> bytes:
        while len(self.data) < size:
            self.arrived.clear()
            await self.arrived.wait()
        return bytes(self.data)


@dataclass
class End:
    """One side's factory of protocols, and what came of each."""

    identity: TlsIdentity
    options: dict[str, Any] = field(default_factory=dict)
    inside: list[Inside] = field(default_factory=list)
    refusals: list[tuple[object, Refused]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def secured(self, peer: Peer) -> Inside:
        self.inside.append(Inside(peer))
        self.told.set()
        return self.inside[-1]

    def refused(self, address: object, refused: Refused) -> None:
        self.refusals.append((address, refused))
        self.told.set()

    def accept(self) -> TlsProtocol:
        session = self.identity.accept(allowed("spiffe://a.test/client"))
        return self._protocol(session)

    def connect(self, server: TlsIdentity) -> TlsProtocol:
        return self._protocol(self.identity.connect(server.state.svid.spiffe_id))

    def _protocol(self, session: Any) -> TlsProtocol:
        return TlsProtocol(session, on_secured=self.secured, on_refused=self.refused, **self.options)

    @property
    def reasons(self) -> list[Reason]:
        return [refused.reason for _, refused in self.refusals]


@dataclass
class Wired:
    server: End
    client: End
    port: int

    async def dial(self) -> TlsProtocol:
        loop = asyncio.get_running_loop()
        factory = lambda: self.client.connect(self.server.identity)  # noqa: E731  one line, used once
        _, protocol = await loop.create_connection(factory, "127.0.0.1", self.port)
        return protocol

    async def secured(self) -> tuple[Inside, Inside]:
        await self.dial()
        await self.client.told.wait()
        await self.server.told.wait()
        return self.client.inside[0], self.server.inside[0]


@asynccontextmanager
async def wired(
    client: TlsIdentity | None = None, server: TlsIdentity | None = None, **options: Any
) -> AsyncIterator[Wired]:
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    end = End(server or identity("/server"), options)
    listener = await loop.create_server(lambda: end.accept(), "127.0.0.1", 0)  # noqa: PLW0108  looked up late
    pair = Wired(end, End(client or identity("/client")), listener.sockets[0].getsockname()[1])
    try:
        yield pair
    finally:
        listener.close()
        for inside in (*pair.client.inside, *pair.server.inside):
            inside.transport.abort()
            await inside.lost.wait()
        await listener.wait_closed()
    assert unheard == []


async def test_bytes_go_both_ways_between_verified_peers() -> None:
    async with wired() as pair:
        client, server = await pair.secured()
        assert (client.peer.spiffe_id.path, server.peer.spiffe_id.path) == ("/server", "/client")
        client.transport.write(b"ping")
        assert await server.read(4) == b"ping"
        server.transport.write(bytearray(b"pong"))
        assert await client.read(4) == b"pong"
        assert server.transport.get_extra_info("peername") == client.transport.get_extra_info("sockname")
        assert pair.server.refusals == pair.client.refusals == []


async def test_a_silent_peer_times_out() -> None:
    async with wired(handshake_timeout=0.05) as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.port)
        assert await reader.read() == b""
        ((address, refused),) = pair.server.refusals
        assert refused.reason is Reason.TLS_TIMEOUT
        assert address == writer.get_extra_info("sockname")
        writer.close()
        await writer.wait_closed()


async def test_a_peer_that_talks_but_never_finishes_times_out() -> None:
    async with wired(handshake_timeout=0.05) as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.port)
        writer.write(b"\x16\x03\x01\x02\x00")  # a record of 512 bytes, of which none come
        assert await reader.read() == b""
        assert pair.server.reasons == [Reason.TLS_TIMEOUT]
        writer.close()
        await writer.wait_closed()


async def test_no_timeout_strikes_after_the_handshake() -> None:
    async with wired(handshake_timeout=0.2) as pair:
        client, server = await pair.secured()
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, over.set)
        await over.wait()
        client.transport.write(b"late")
        assert await server.read(4) == b"late"


async def test_a_peer_that_leaves_during_the_handshake_is_reported_once() -> None:
    async with wired() as pair:
        _, writer = await asyncio.open_connection("127.0.0.1", pair.port)
        writer.close()
        await writer.wait_closed()
        await pair.server.told.wait()
        assert pair.server.reasons == [Reason.TLS_HANDSHAKE]


async def test_a_peer_that_resets_during_the_handshake_is_reported_once() -> None:
    async with wired() as pair:
        _, writer = await asyncio.open_connection("127.0.0.1", pair.port)
        linger = b"\x01\0\0\0\0\0\0\0"  # on, 0 seconds: close() sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await pair.server.told.wait()
        assert pair.server.reasons == [Reason.TLS_HANDSHAKE]


async def test_garbage_is_reported_once_and_answered_with_an_alert() -> None:
    async with wired() as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.port)
        writer.write(b"\x16\x03\x01\x00\x05hello")
        assert (await reader.read()).startswith(b"\x15\x03")
        assert pair.server.reasons == [Reason.TLS_HANDSHAKE]
        writer.close()
        await writer.wait_closed()


STRANGERS = {
    "whom OpenSSL refuses": (
        lambda: identity("/client", of=MiniCa("a.test", now=NOW)),
        Reason.CHAIN_UNTRUSTED,
        Reason.TLS_REJECTED,
    ),
    "whom our rules refuse": (lambda: identity("/other"), Reason.ID_NOT_AUTHORIZED, Reason.TLS_REJECTED),
}  # fmt: skip


@pytest.mark.parametrize(("stranger", "reason", "heard"), STRANGERS.values(), ids=STRANGERS)
async def test_a_refused_client_is_reported_once_and_learns_of_it(
    stranger: Any, reason: Reason, heard: Reason
) -> None:
    async with wired(client=stranger()) as pair:
        await pair.dial()
        await pair.client.told.wait()
        client = pair.client.inside[0]  # in TLS 1.3 its own handshake succeeds
        client.transport.write(b"POST / HTTP/1.1")
        await client.lost.wait()
        assert isinstance(client.why, Refused)
        assert client.why.reason is heard
        await pair.server.told.wait()
        ((address, refused),) = pair.server.refusals
        assert refused.reason is reason
        assert address == client.transport.get_extra_info("sockname")
        assert pair.server.inside == []  # nothing was ever made that could have read the request


async def test_a_client_that_refuses_its_server_makes_nothing_and_the_server_completes_nothing() -> None:
    async with wired() as pair:
        pair.client.identity = identity("/client")
        elsewhere = identity("/elsewhere")
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: pair.client.connect(elsewhere), "127.0.0.1", pair.port
        )
        await pair.client.told.wait()
        await pair.server.told.wait()
        assert pair.client.reasons == [Reason.ID_NOT_AUTHORIZED]
        assert pair.server.reasons == [Reason.TLS_HANDSHAKE]
        assert pair.client.inside == pair.server.inside == []
        assert protocol.is_closing()


@pytest.mark.parametrize("at_the_server", [True, False])
async def test_a_fault_in_what_judges_a_peer_lets_nobody_in(
    at_the_server: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: tuple[bytes, ...]) -> Peer:
        raise ZeroDivisionError

    async with wired() as pair:
        faulty = pair.server if at_the_server else pair.client
        context = faulty.identity.server_context if at_the_server else faulty.identity.client_context
        session = TlsSession(lambda: context, server_side=at_the_server, verify=broken)
        make = "accept" if at_the_server else "connect"
        faulty.__dict__[make] = lambda *_: faulty._protocol(session)
        await pair.dial()
        await faulty.told.wait()
        assert faulty.reasons == [Reason.TLS_HANDSHAKE]
        assert pair.server.inside == []
        if at_the_server:
            await pair.client.told.wait()
            client = pair.client.inside[0]  # in TLS 1.3 its own handshake succeeds
            await client.lost.wait()
            assert isinstance(client.why, Refused)
            assert client.why.reason is Reason.TLS_REJECTED
        else:
            assert pair.client.inside == []
    assert "a fault ends a connection" in caplog.text


async def test_closing_sends_everything_and_a_goodbye() -> None:
    async with wired() as pair:
        client, server = await pair.secured()
        data = b"x" * 8_000_000
        client.transport.write(data)
        client.transport.close()
        client.transport.write(b"not any more")
        await server.lost.wait()
        assert bytes(server.data) == data
        assert (server.eofs, server.why) == (1, None)


async def test_saying_goodbye_in_one_direction_leaves_the_other_open() -> None:
    async with wired() as pair:
        client, server = await pair.secured()
        assert server.transport.can_write_eof()
        server.eof_received = lambda: True  # type: ignore[method-assign]  # as a protocol that goes on answering
        client.transport.write(b"request")
        client.transport.write_eof()
        client.transport.write_eof()
        client.transport.write(b"not any more")
        assert await server.read(7) == b"request"
        server.transport.write(b"answer")
        assert await client.read(6) == b"answer"
        assert bytes(server.data) == b"request"


async def test_an_end_without_a_goodbye_is_told_as_such() -> None:
    """Anybody on the path can forge the end of a TCP stream; only the peer can say goodbye."""
    async with wired() as pair:
        client, server = await pair.secured()
        server.transport.write(b"half")
        await client.read(4)
        server.transport._socket.close()
        await client.lost.wait()
        assert isinstance(client.why, Refused)
        assert client.why.reason is Reason.TLS_TRUNCATED
        assert client.eofs == 0


async def test_a_touched_record_ends_the_connection_with_its_reason() -> None:
    async with wired() as pair:
        client, server = await pair.secured()
        client.transport._socket.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await server.lost.wait()
        assert isinstance(server.why, Refused)
        assert server.why.reason is Reason.TLS_HANDSHAKE
        assert pair.server.refusals == []  # it was reported to the protocol inside, which had begun


async def test_writers_are_paused_while_the_peer_does_not_read_and_resumed_after() -> None:
    async with wired() as pair:
        client, server = await pair.secured()
        server.transport.pause_reading()
        written = 0
        while not client.paused:
            client.transport.write(b"x" * 65536)
            written += 65536
            await asyncio.sleep(0)
        assert client.transport.get_write_buffer_size() > 0
        server.transport.resume_reading()
        await server.read(written)
        while client.paused != ["pause", "resume"]:  # noqa: ASYNC110  the loop has still to tell
            await asyncio.sleep(0)


async def test_what_openssl_has_to_say_while_reading_is_sent_at_once() -> None:
    """A key update, say: an answer kept back until the next write would never leave an idle connection."""
    async with wired() as pair:
        client, server = await pair.secured()
        server.transport._session._outgoing.write(b"\x14\x03\x03\x00\x01\x01")  # nothing a client stands now
        client.transport.write(b"x")
        await client.lost.wait()
        assert isinstance(client.why, Refused)
        assert client.why.reason is Reason.TLS_HANDSHAKE


# -- how many at once ------------------------------------------------------------------------------------


async def test_strangers_who_say_nothing_keep_nobody_out() -> None:
    async with wired(slots=HandshakeSlots(2)) as pair:
        silent = [await asyncio.open_connection("127.0.0.1", pair.port) for _ in range(3)]
        assert await silent[0][0].read() == b""
        assert pair.server.reasons == [Reason.TLS_BUSY]
        await pair.dial()
        while not pair.server.inside:
            pair.server.told.clear()
            await pair.server.told.wait()
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()


async def test_every_end_of_a_handshake_gives_its_place_back() -> None:
    slots = HandshakeSlots(1)
    async with wired(slots=slots, handshake_timeout=0.2) as pair:
        for opening in (b"garbage", b"\x16\x03\x01\x02\x00", None):
            reader, writer = await asyncio.open_connection("127.0.0.1", pair.port)
            if opening is not None:
                writer.write(opening)
                await reader.read()
            writer.close()
            await writer.wait_closed()
            while len(slots) != 0:  # noqa: ASYNC110  its own end has still to be seen
                await asyncio.sleep(0)
        pair.server.told.clear()
        client, _ = await pair.secured()
        assert len(slots) == 0
        client.transport.abort()
        await client.lost.wait()
        assert len(slots) == 0


def test_slots_are_bounded_and_the_oldest_gives_way() -> None:
    slots, gone = HandshakeSlots(2), list[str]()
    for name in ("a", "b", "c"):
        slots.take(name, lambda name=name: gone.append(name))  # type: ignore[misc]  # its value of this moment
    assert (len(slots), gone) == (2, ["a"])
    slots.give_back("b")
    slots.give_back("a")
    slots.take("d", lambda: gone.append("d"))
    assert (len(slots), gone) == (2, ["a"])


# -- another TLS stack -----------------------------------------------------------------------------------


async def test_asyncio_s_own_tls_client_is_served(tmp_path: Any) -> None:
    context = identity("/client").client_context
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with wired() as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.port, ssl=context)
        await pair.server.told.wait()
        writer.write(b"hello")
        server = pair.server.inside[0]
        assert await server.read(5) == b"hello"
        server.transport.write(b"goodbye")
        server.transport.close()
        assert await reader.read() == b"goodbye"
        writer.close()
        await writer.wait_closed()
        await server.lost.wait()


class Wire(asyncio.Transport):
    """A transport without a network: what is done to it stands in `events`, in order."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.events.append("write")
        self.written += data

    def close(self) -> None:
        self.events.append("close")

    def is_closing(self) -> bool:
        return "close" in self.events

    def abort(self) -> None:
        self.events.append("abort")


async def test_a_refusal_is_recorded_before_the_refused_peer_can_know_of_it() -> None:
    """Should this process end right then, it is not the evidence that is missing."""
    events: list[str] = []
    server, stranger = identity("/server"), identity("/stranger")
    protocol = TlsProtocol(
        server.accept(allowed("spiffe://a.test/client")),
        on_secured=Inside,
        on_refused=lambda *_: events.append("recorded"),
    )
    wire = Wire(events)
    protocol.connection_made(wire)
    client = stranger.connect(server.state.svid.spiffe_id)
    client.start()
    protocol.data_received(client.outgoing())
    client.receive(bytes(wire.written))
    events.clear()
    protocol.data_received(client.outgoing())
    assert events == ["recorded", "write", "close"]
    protocol.connection_lost(None)
