"""Connections are kept, shared and ended as the pool says, and never used by two at once."""

import asyncio

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, Limits, Reply, Request
from spiffe_mcp.http.client import ClientConnection
from tests.unit.http.peers import GET, fetch, refusal, says, scripted, served
from tests.unit.http.serving import OK, serving, until


async def test_one_connection_serves_requests_one_after_the_other() -> None:
    async with serving() as running, served(running) as peer:
        for number in range(5):
            body = await fetch(peer.client, Request(b"POST", b"/%d" % number, ((b"host", b"x"),), b"b"))
            assert body == b"POST /%d b" % number
        assert len(peer.connections) == 1


async def test_requests_at_once_have_a_connection_each_and_the_newest_idle_one_is_used_again() -> None:
    async with serving() as running, served(running) as peer:
        first = await peer.client.send(GET)
        second = await peer.client.send(GET)
        async with first, second:
            assert await first.body(100) == await second.body(100) == b"GET / "
        assert len(peer.connections) == 2
        async with await peer.client.send(GET) as third:
            assert third._connection is first._connection  # left last


async def test_no_more_than_so_many_connections_are_kept() -> None:
    async with serving() as running, served(running, max_idle=1) as peer:
        async with await peer.client.send(GET) as first, await peer.client.send(GET) as second:
            await first.body(100)
            await second.body(100)
        assert [connection.reusable for connection in peer.connections] == [False, True]


class OneSeat:
    """Room for one idle connection."""

    def __init__(self) -> None:
        self.free = 1

    def take(self) -> bool:
        if not self.free:
            return False
        self.free -= 1
        return True

    def give_back(self) -> None:
        self.free += 1


async def test_pools_keep_no_more_than_their_common_room() -> None:
    room = OneSeat()
    async with serving() as running, served(running, room=room) as one, served(running, room=room) as other:
        for peer in (one, other):
            await fetch(peer.client, GET)
        assert [peer.connections[0].reusable for peer in (one, other)] == [True, False]
        async with await one.client.send(GET) as busy:
            assert room.free == 1, "one that is used is not idle"
            await busy.body(100)
        assert room.free == 0
        one.client.retire()
        assert room.free == 1


async def test_an_idle_connection_that_is_lost_makes_room() -> None:
    room = OneSeat()
    limits = Limits(idle_timeout=0.02)
    async with serving(limits=limits) as running, served(running, room=room) as peer:
        await fetch(peer.client, GET)
        assert room.free == 0
        await until(lambda: peer.connections[0]._lost)
        assert room.free == 1
        peer.client.retire()
        assert room.free == 1, "once only"


async def test_a_connection_that_the_peer_closed_while_idle_is_not_used() -> None:
    async with serving(limits=Limits(idle_timeout=0.02)) as running, served(running) as peer:
        await fetch(peer.client)
        await until(lambda: peer.connections[0]._lost)
        assert await fetch(peer.client) == b"GET / "
        assert len(peer.connections) == 2


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with serving() as running, served(running, idle_timeout=0.02) as peer:
        await fetch(peer.client)
        await until(lambda: peer.connections[0]._lost)


async def test_a_connection_in_use_is_not_closed_for_idleness() -> None:
    go = asyncio.Event()

    async def second_waits(request: Request, reply: Reply) -> None:
        if request.target == b"/slow":
            asyncio.get_running_loop().call_later(0.1, go.set)
            await go.wait()
        await reply.send(OK, b"done")

    async with serving(second_waits) as running, served(running, idle_timeout=0.02) as peer:
        await fetch(peer.client)
        assert await fetch(peer.client, Request(b"GET", b"/slow", ((b"host", b"x"),))) == b"done"
        assert len(peer.connections) == 1


async def test_a_peer_that_says_close_is_not_asked_again_there() -> None:
    data = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(says(data, stay=True)) as peer:
        assert [await fetch(peer.client), await fetch(peer.client)] == [b"ok", b"ok"]
        assert len(peer.connections) == 2


async def test_a_retired_client_lets_running_responses_end_and_opens_no_more() -> None:
    async with serving() as running, served(running) as peer:
        await fetch(peer.client)
        async with await peer.client.send(GET) as response:
            peer.client.retire()
            assert await response.body(100) == b"GET / "
        assert not peer.connections[0].reusable
        assert (await refusal(peer.client.send(GET))).reason is Reason.UPSTREAM_UNREACHABLE


async def test_retiring_closes_idle_connections() -> None:
    async with serving() as running, served(running) as peer:
        await fetch(peer.client)
        peer.client.retire()
        await running.all_gone()


async def test_a_leased_connection_is_nobody_elses_until_it_is_released() -> None:
    async with serving() as running, served(running) as peer:
        lease = await peer.client.lease()
        assert await fetch(peer.client) == b"GET / "
        assert len(peer.connections) == 2
        lease.release()
        again = await peer.client.lease()
        assert again.connection is lease.connection
        async with await again.send(GET) as response:
            assert await response.body(100) == b"GET / "


async def test_a_drained_connection_ends_now_if_it_is_idle() -> None:
    async with serving() as running, served(running) as peer:
        await fetch(peer.client)
        peer.connections[0].drain()
        await running.all_gone()
        assert await fetch(peer.client) == b"GET / "
        assert len(peer.connections) == 2


async def test_a_drained_connection_carries_what_it_was_leased_for_and_no_more() -> None:
    async with serving() as running, served(running) as peer:
        lease = await peer.client.lease()
        lease.connection.drain()
        async with await lease.send(GET) as response:
            assert await response.body(100) == b"GET / "
        await running.all_gone()


async def test_whoever_waits_on_a_connection_that_is_cut_learns_why() -> None:
    async with serving(never) as running, served(running) as peer, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(refusal(peer.client.send(GET)))
        await until(lambda: len(running.service.requests) == 1)
        peer.connections[0].cut(Refused(Reason.CHAIN_UNTRUSTED))
        assert (await asking).reason is Reason.CHAIN_UNTRUSTED
        await running.all_gone()


async def test_a_leased_connection_that_is_cut_says_why_when_it_is_used() -> None:
    async with serving() as running, served(running) as peer:
        lease = await peer.client.lease()
        lease.connection.cut(Refused(Reason.CHAIN_UNTRUSTED))
        assert (await refusal(lease.send(GET))).reason is Reason.CHAIN_UNTRUSTED
        assert running.service.requests == []


async def never(_: Request, __: Reply) -> None:
    await asyncio.Event().wait()


async def test_what_opening_a_connection_raises_is_what_sending_raises() -> None:
    async def connect() -> ClientConnection:
        raise Refused(Reason.TLS_TIMEOUT)

    assert (await refusal(HttpClient(connect).send(GET))).reason is Reason.TLS_TIMEOUT
