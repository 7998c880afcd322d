"""Points 30 to 32: nothing is held back, nothing is made up, nothing is called twice."""

import asyncio
from contextlib import suppress
from typing import Final

from tests.intermediary.check import Bench, check
from tests.intermediary.client import Outgoing
from tests.intermediary.framing import Cut
from tests.intermediary.mcp import call, fresh_id, legacy_call, notification, response, said
from tests.intermediary.upstream import Answering, Message

PROGRESS: Final = (
    b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": 1}}'
)


@check(30, "Streamable HTTP, Sending Messages")
async def each_event_is_delivered_before_the_next_is_sent(bench: Bench) -> None:
    delivered = asyncio.Event()

    async def streams(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(PROGRESS)
        await delivered.wait()
        await answering.event(response(message, said("done")))
        await answering.end()

    with bench.upstream.answering("tools/call", streams):
        async with bench.send(call("echo")) as wire:
            await wire.head()
            assert PROGRESS in await wire.event()
            delivered.set()
            assert b'"done"' in await wire.event()


@check(30, "Streamable HTTP: SSE comments as keep-alive must be tolerated")
async def comments_that_keep_a_stream_alive_pass_at_once(bench: Bench) -> None:
    delivered = asyncio.Event()

    async def streams(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.piece(b": still here\n\n")
        await delivered.wait()
        await answering.event(response(message, said("done")))
        await answering.end()

    with bench.upstream.answering("tools/call", streams):
        async with bench.send(call("echo")) as wire:
            await wire.head()
            assert b": still here" in await wire.event()
            delivered.set()
            assert b'"done"' in await wire.event()


@check(30, "RFC 9110 section 12.5.3: what is compressed cannot be filtered")
async def the_server_is_asked_for_no_compression(bench: Bench) -> None:
    mark = len(bench.upstream.received)
    await bench.ask(call("echo").with_header("Accept-Encoding", "gzip, br, zstd"))
    (received,) = bench.upstream.since(mark)
    assert set(received.head.values(b"accept-encoding")) <= {b"identity"}


async def _left(bench: Bench, request: Outgoing) -> None:
    """The client begins `request` and leaves; return when the server has noticed."""
    arrived, noticed = asyncio.Event(), asyncio.Event()

    async def waits(_: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(PROGRESS)
        arrived.set()
        await answering.gone.wait()
        noticed.set()

    with bench.upstream.answering("tools/call", waits):
        async with bench.send(request) as wire:
            await arrived.wait()
            await wire.head()
            assert PROGRESS in await wire.event()
        await noticed.wait()


@check(31, "MCP 2026-07-28 basic/utilities/cancellation: closing the stream MUST be treated as cancel")
async def a_client_that_leaves_cancels_its_call_at_the_server(bench: Bench) -> None:
    await _left(bench, call("echo"))
    await bench.serves()


@check(31, "MCP 2026-07-28 basic/utilities/cancellation")
async def a_client_that_leaves_before_an_answer_has_begun_cancels_it_too(bench: Bench) -> None:
    arrived, noticed = asyncio.Event(), asyncio.Event()

    async def waits(_: Message, answering: Answering) -> None:
        arrived.set()
        await answering.gone.wait()
        noticed.set()

    with bench.upstream.answering("tools/call", waits):
        async with bench.send(call("echo")):
            await arrived.wait()
        await noticed.wait()


@check(31, "MCP 2025-11-25 basic/transports: a disconnect SHOULD NOT be interpreted as cancelling")
async def no_cancellation_is_made_up_for_a_client_that_leaves(bench: Bench) -> None:
    """The server is left at once all the same: it has to know what it has yet to deliver."""
    mark = len(bench.upstream.received)
    await _left(bench, legacy_call("echo", text="suite-left"))
    await bench.serves()
    said = [received.message.get("method") for received in bench.upstream.received[mark:]]
    assert "notifications/cancelled" not in said


@check(31, "MCP 2025-11-25 basic/utilities/cancellation")
async def a_cancellation_of_the_legacy_era_reaches_the_server(bench: Bench) -> None:
    mark = len(bench.upstream.received)
    answer = await bench.ask(
        notification("notifications/cancelled", {"requestId": fresh_id(), "reason": "enough"})
    )
    assert answer.status == 202
    assert answer.body == b""
    (received,) = bench.upstream.since(mark)
    assert received.message["params"]["reason"] == "enough"


@check(32, "RFC 9112 section 8; MCP basic/transports")
async def a_stream_that_its_server_cuts_ends_without_a_result(bench: Bench) -> None:
    async def dies(_: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(PROGRESS)
        await answering.piece(b'data: {"jsonrpc": "2.0", "id": ')
        answering.die()

    for request in (call("echo"), legacy_call("echo", text="suite-cut")):
        mark, came = len(bench.upstream.received), b""
        with bench.upstream.answering("tools/call", dies):
            async with bench.send(request) as wire:
                try:
                    await wire.head()
                    while piece := await wire.piece():
                        came += piece
                except (Cut, ConnectionError):
                    came += b"cut"
        assert b'"result"' not in came
        assert came.endswith(b"cut") or b'"error"' in came, f"a proper end, and no answer: {came!r}"
        assert len(bench.upstream.since(mark)) == 1, "the call was made again"


@check(32, "RFC 9110 section 9.2.2: POST is not idempotent")
async def a_call_is_never_made_twice(bench: Bench) -> None:
    async def dies(_: Message, answering: Answering) -> None:
        answering.die()

    async def half(_: Message, answering: Answering) -> None:
        await answering.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        answering.die()

    async def unavailable(_: Message, answering: Answering) -> None:
        await answering.empty(b"503 Service Unavailable")

    for handler in (dies, half, unavailable):
        mark = len(bench.upstream.received)
        with bench.upstream.answering("tools/call", handler), suppress(Cut):
            assert (await bench.ask(call("echo"))).refuses
        assert len(bench.upstream.since(mark)) == 1, "the call was made again"
    await bench.serves()
