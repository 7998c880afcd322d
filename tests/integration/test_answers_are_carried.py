"""What goes through both agents: streams without delay, bodies of any framing, no faster than is read."""

import asyncio
from collections.abc import Callable

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, ResponseHead
from tests.fakes.mcp_client import Plain, call, initialize, legacy, with_header
from tests.fakes.mcp_server import JSON, STREAM, Message, event, result_of, serving_mcp
from tests.fakes.mesh import LIVE, Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; the test's own timeout bounds it."""
    while not true():  # noqa: ASYNC110  what has no event for tests: the end of a line in another task's log
        await asyncio.sleep(0)


async def still_works(mesh: Mesh) -> None:
    assert (await mesh.planner.ask(call("echo", text="on we go"))).text == "on we go"


async def test_each_event_arrives_before_the_next_is_sent(mesh: Mesh) -> None:
    received = asyncio.Event()

    async def stream(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(PROGRESS))
        await received.wait()
        await reply.write(event(result_of(message, "done")))
        reply.finish()

    with mesh.server.answering(stream):
        async with await mesh.planner.begin(call("echo", text="hi")) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            received.set()
            assert await anext(chunks) == event(result_of({"id": 1}, "done"))
            assert [chunk async for chunk in chunks] == []
    assert mesh.log("ingress").last()["outcome"] == "completed"


async def test_the_head_of_a_stream_arrives_before_its_first_event(mesh: Mesh) -> None:
    received = asyncio.Event()

    async def stream(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await received.wait()
        await reply.write(event(result_of(message, "done")))
        reply.finish()

    with mesh.server.answering(stream):
        async with await mesh.planner.begin(call("echo", text="hi")) as response:
            assert (response.head.status, dict(response.head.headers)[b"content-type"]) == (
                200,
                b"text/event-stream",
            )
            received.set()
            assert [chunk async for chunk in response] == [event(result_of({"id": 1}, "done"))]


async def test_chunked_bodies_pass_both_ways(mesh: Mesh) -> None:
    """Larger than an agent holds back, so that it is chunked all the way."""

    async def in_pieces(message: Message, reply: Reply) -> None:
        whole = result_of(message, message["params"]["arguments"]["text"])
        await reply.start(ResponseHead(200, JSON))
        for start in range(0, len(whole), 5000):
            await reply.write(whole[start : start + 5000])
        reply.finish()

    text = "in pieces, " * 50_000
    request = with_header(call("echo", text=text), "connection", "close")
    head = b"".join(b"%s: %s\r\n" % header for header in request.headers)
    pieces = (request.body[start : start + 1111] for start in range(0, len(request.body), 1111))
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    address = next(iter(mesh.egresses.values()))
    with mesh.server.answering(in_pieces):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST %s HTTP/1.1\r\n%stransfer-encoding: chunked\r\n\r\n" % (request.target, head))
        writer.write(body + b"0\r\n\r\n")
        head, _, chunked = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding: chunked" in head
    assert unchunked(chunked) == result_of({"id": 1}, text)
    assert mesh.server.requests[-1].body == request.body


def unchunked(body: bytes) -> bytes:
    """RFC 9112 section 7.1, without extensions and trailers."""
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        if size == b"0":
            assert rest == b"\r\n"
            return whole
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


async def test_one_hop_and_one_connection_to_the_server_carry_many_calls(mesh: Mesh) -> None:
    await still_works(mesh)
    accepted = mesh.server.accepted
    addresses = len({record["peer_address"] for record in mesh.log("ingress").records()})
    for number in range(20):
        assert (await mesh.planner.ask(call("echo", text=str(number)))).text == str(number)
    assert mesh.server.accepted == accepted
    assert len({record["peer_address"] for record in mesh.log("ingress").records()}) == addresses


async def test_fifty_calls_at_once_get_their_own_answers(mesh: Mesh) -> None:
    """None is answered before all have arrived, and the last is answered first."""
    waiting: list[asyncio.Event] = []

    async def last_first(message: Message, reply: Reply) -> None:
        mine = asyncio.Event()
        waiting.append(mine)
        if len(waiting) == 50:
            mine.set()
        await mine.wait()
        await reply.send(ResponseHead(200, JSON), result_of(message, message["params"]["arguments"]["text"]))
        if (place := waiting.index(mine)) > 0:
            waiting[place - 1].set()

    async def ask(number: int) -> None:
        client = mesh.planner if number % 2 else mesh.reviewer
        answer = await client.ask(call("echo", message_id=number, text=f"call {number}"))
        assert (answer.document["id"], answer.text) == (number, f"call {number}")

    with mesh.server.answering(last_first):
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 51):
                tasks.create_task(ask(number))


async def test_a_slow_reader_holds_the_server_back(mesh: Mesh) -> None:
    written = 0

    async def endless(message: Message, reply: Reply) -> None:
        nonlocal written
        await reply.start(STREAM)
        padded = event(PROGRESS.replace(b'"progress":1', b'"progress":1,"message":"%s"' % (b"x" * 65536)))
        while True:
            await reply.write(padded)
            written += len(padded)

    with mesh.server.answering(endless):
        async with await mesh.planner.begin(call("echo", text="hi")):
            # The test reads nothing: what all buffers between here and the server hold is bounded.
            last, quiet = -1, 0
            while quiet < 200:
                await asyncio.sleep(0.001)  # the kernel moves bytes between sockets on its own time
                quiet = quiet + 1 if written == last else 0
                last = written
            assert written < 32 * 1024 * 1024
        await until(lambda: mesh.log("ingress").last()["outcome"] == "cancelled")
    await still_works(mesh)


async def test_a_client_that_leaves_cancels_the_call_at_the_server(mesh: Mesh) -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def never(_: Message, __: Reply) -> None:
        arrived.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with mesh.server.answering(never):
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(mesh.planner.ask(call("echo", text="hi")))
            await arrived.wait()
            asking.cancel()
        await cancelled.wait()
    for side in ("planner", "ingress"):
        await until(lambda side=side: mesh.log(side).last()["outcome"] == "cancelled")  # type: ignore[misc]  # bound now
        assert mesh.log(side).last()["tool"] == "echo"
    await still_works(mesh)


@pytest.mark.parametrize("said", ["nothing", "an event", "half an event"])
async def test_a_stream_that_the_server_cuts_ends_with_an_error_for_the_call(mesh: Mesh, said: str) -> None:
    """No fake result, no half event, and nobody waits for an answer that cannot come."""
    beginning = {"nothing": b"", "an event": event(PROGRESS), "half an event": event(PROGRESS)[:40]}[said]

    async def dies(_: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(beginning)
        reply._transport.abort()

    with mesh.server.answering(dies):
        async with await mesh.planner.begin(call("echo", text="hi")) as response:
            received = await response.body(4096)
    before, _, after = received.partition(b'event: message\ndata: {"jsonrpc":"2.0","id"')
    assert before == (event(PROGRESS) if said == "an event" else b"")
    assert b'"code":503001' in after
    assert mesh.log("ingress").last()["reason"] == Reason.UPSTREAM_BROKEN.code
    await still_works(mesh)


async def test_a_stream_that_the_server_cuts_after_its_answer_is_cut_and_no_fault_of_the_agent(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    """A second answer would be a lie; a proper end too."""

    async def dies(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(result_of(message, "done")))
        reply._transport.abort()

    received: list[bytes] = []

    async def read() -> None:
        async with await mesh.planner.begin(call("echo", text="hi")) as response:
            async for chunk in response:
                received.append(chunk)  # noqa: PERF401  what came before the cut counts

    with mesh.server.answering(dies), pytest.raises(Refused) as cut:
        await read()
    assert cut.value.reason is Reason.UPSTREAM_BROKEN
    whole = b"".join(received)
    assert (whole.count(b"data:"), b"done" in whole) == (1, True)
    ours = ("spiffe_mcp.http", "asyncio")
    faults = [record for record in caplog.records if record.exc_info and record.name.startswith(ours)]
    # The recording server's own handler did leave its request unanswered; the two agents' did not.
    assert len(faults) <= 1
    await still_works(mesh)


async def test_a_json_answer_that_the_server_cuts_becomes_an_error(mesh: Mesh) -> None:
    async def dies(message: Message, reply: Reply) -> None:
        await reply.start(ResponseHead(200, JSON))
        await reply.write(result_of(message, "half")[:-4])
        reply._transport.abort()

    with mesh.server.answering(dies):
        answer = await mesh.planner.ask(call("echo", text="hi"))
    assert (answer.status, answer.code) == (503, 503001)
    assert b"half" not in answer.body
    assert mesh.log("ingress").last()["reason"] == Reason.UPSTREAM_BROKEN.code
    await still_works(mesh)


async def test_an_answer_with_another_id_does_not_pass(mesh: Mesh) -> None:
    async def confused(_: Message, reply: Reply) -> None:
        await reply.send(ResponseHead(200, JSON), result_of({"id": "1"}, "not yours"))

    with mesh.server.answering(confused):
        answer = await mesh.planner.ask(call("echo", text="hi"))
    assert answer.status == 502
    assert b"not yours" not in answer.body
    assert mesh.log("ingress").last()["reason"] == Reason.MCP_ANSWER_UNEXPECTED.code
    await still_works(mesh)


async def test_a_server_that_is_down_is_unavailable_until_it_is_back(mesh: Mesh) -> None:
    """`mesh.server` goes on elsewhere in the module, so this one has a mesh address of its own to lose."""
    async with serving_mcp(LIVE) as short_lived:
        port = short_lived.port
    config = mesh.site.ingress_config(mesh.provider.address, f"http://127.0.0.1:{port}/mcp", log="down")
    async with mesh.beside(config) as client:
        answer = await client.ask(call("echo", text="hi"))
        assert (answer.status, answer.code) == (503, 503001)
        assert answer.reason == Reason.UPSTREAM_UNREACHABLE.code
        assert str(port).encode() not in answer.body, "nothing of what stands behind the ingress"
        assert mesh.log("down").last()["reason"] == Reason.UPSTREAM_UNREACHABLE.code
        async with serving_mcp(LIVE, port):
            assert (await client.ask(call("echo", text="back"))).text == "back"
        gone = await client.ask(call("echo", text="hi"))
        assert gone.status == 503


async def test_legacy_sessions_are_carried_from_initialize_to_delete(mesh: Mesh) -> None:
    opened = await mesh.planner.ask(initialize())
    session = dict(opened.headers)[b"mcp-session-id"]
    assert opened.document["result"]["protocolVersion"] == "2025-11-25"
    initialized = legacy("notifications/initialized", message_id=None, session=session)
    assert (await mesh.planner.ask(initialized)).status == 202
    params = {"name": "echo", "arguments": {"text": "old"}}
    assert (await mesh.planner.ask(legacy("tools/call", params, session=session))).text == "old"
    assert dict(mesh.server.requests[-1].headers)[b"mcp-session-id"] == session


async def test_the_logs_of_all_agents_are_intact_and_tell_the_same_transactions(mesh: Mesh) -> None:
    """Last in the module, after everything above was carried and refused."""
    await still_works(mesh)
    ingress = mesh.log("ingress")
    for side in ("ingress", "planner", "reviewer"):
        assert mesh.log(side).report().intact
    sent = {
        record["txn"]
        for side in ("planner", "reviewer")
        for record in mesh.log(side).records()
        if record["txn"]
    }
    arrived = [record["txn"] for record in ingress.records()]
    assert len(arrived) == len(set(arrived)), "one record for each"
    assert set(arrived) <= sent


async def test_a_new_connection_is_as_good_as_an_old_one(mesh: Mesh) -> None:
    client = Plain(next(iter(mesh.egresses.values())))
    assert (await client.ask(call("echo", text="hi"))).text == "hi"
    client.close()
