"""HTTP inside mutual TLS, as the mesh runs it: the two rooms agree on how a connection ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, HttpServer, Limits, Reply, Request
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol
from tests.fakes.mini_ca import MiniCa
from tests.unit.http.serving import OK, Handler, RecordingService, echo, until
from tests.unit.tls.ends import ANYBODY_OF_A, NOW, identity

GET = Request(b"GET", b"/", ((b"host", b"x"),))


@dataclass
class Hop:
    client: HttpClient
    service: RecordingService
    http: HttpServer
    server_ends: list[TlsProtocol] = field(default_factory=list)


@asynccontextmanager
async def hop(
    handler: Handler = echo, limits: Limits | None = None, *, client: TlsIdentity | None = None
) -> AsyncIterator[Hop]:
    loop = asyncio.get_running_loop()
    server, caller = identity("/server"), client or identity("/client")

    def nobody(_: object, __: Refused) -> None:
        pass

    def accept() -> TlsProtocol:
        end = TlsProtocol(
            server.accept(ANYBODY_OF_A), on_secured=lambda _: http.connection(service), on_refused=nobody
        )
        running.server_ends.append(end)
        return end

    async def connect() -> ClientConnection:
        secured: asyncio.Future[ClientConnection] = loop.create_future()

        def on_secured(_: Peer) -> ClientConnection:
            secured.set_result(ClientConnection())
            return secured.result()

        session = caller.connect(server.state.svid.spiffe_id)
        await loop.create_connection(
            lambda: TlsProtocol(session, on_secured=on_secured, on_refused=nobody), "127.0.0.1", port
        )
        return await secured

    async with asyncio.TaskGroup() as tasks:
        service = RecordingService(handler)
        http = HttpServer(tasks, limits or Limits())
        running = Hop(HttpClient(connect), service, http)
        listener = await loop.create_server(accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        try:
            yield running
        finally:
            running.client.retire()
            listener.close()
            http.close()
            await until(lambda: all(end._lost for end in running.server_ends))
            await listener.wait_closed()


async def fetch(client: HttpClient, request: Request = GET) -> bytes:
    async with await client.send(request) as response:
        return await response.body(1 << 30)


async def test_requests_share_one_handshake() -> None:
    async with hop() as running:
        for number in range(3):
            request = Request(b"POST", b"/", ((b"host", b"x"),), b"%d" % number * 100_000)
            assert await fetch(running.client, request) == b"POST / " + request.body
        assert len(running.server_ends) == 1


async def test_a_client_that_leaves_cancels_the_handler_behind_tls() -> None:
    cancelled = asyncio.Event()

    async def endless(request: Request, reply: Reply) -> None:
        await reply.start(OK)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with hop(endless) as running:
        async with await running.client.send(GET):
            pass
        await cancelled.wait()


async def test_a_body_that_only_a_cut_ended_is_not_whole() -> None:
    """Without a length only the end of the connection ends a body, and on TCP anybody can forge that."""

    async def cut(request: Request, reply: Reply) -> None:
        running.server_ends[0].write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        running.server_ends[0]._socket.close()
        await asyncio.Event().wait()

    async with hop(cut) as running:
        with pytest.raises(Refused) as caught:
            await fetch(running.client)
        assert caught.value.reason is Reason.TLS_TRUNCATED


async def test_a_body_that_a_goodbye_ended_is_whole() -> None:
    async def close(request: Request, reply: Reply) -> None:
        running.server_ends[0].write(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        running.server_ends[0].close()
        await asyncio.Event().wait()

    async with hop(close) as running:
        assert await fetch(running.client) == b"whole"


async def test_a_refused_request_is_answered_before_the_goodbye() -> None:
    async with hop(limits=Limits(body=10)) as running:
        request = Request(b"POST", b"/", ((b"host", b"x"),), b"x" * 3_000_000)
        async with await running.client.send(request) as response:
            assert response.head.status == 413
            assert await response.body(100) == b"http.body_too_large\n"
        assert running.service.requests == []


async def test_nothing_of_the_request_reaches_a_service_that_refuses_the_caller() -> None:
    async with hop(client=identity("/client", of=MiniCa("a.test", now=NOW))) as running:
        with pytest.raises(Refused) as caught:
            await fetch(running.client)
        assert (caught.value.reason, caught.value.detail) == (Reason.TLS_REJECTED, "TLSV1_ALERT_UNKNOWN_CA")
        assert running.service.requests == []
