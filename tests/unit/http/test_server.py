"""The server on real sockets: framing, order, streams, limits, and every malformed request refused."""

import asyncio
import logging
import socket
import tracemalloc

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Limits, Reply, Request, ResponseHead
from tests.unit.http.serving import OK, SSE, Handler, serving, until

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"


class Endless:
    """A handler that never ends by itself, and says what became of it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _: Request, __: Reply) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Held:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, _: Request, reply: Reply) -> None:
        self.begun.set()
        await self.release.wait()
        await reply.send(OK, b"at last")


# -- requests --------------------------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as running, running.wire() as wire:
        for path in (b"/1", b"/2", b"/3"):
            answer = await wire.ask(b"GET %s?q=1 HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert (answer.status, answer.body) == (200, b"GET %s?q=1 " % path)
            assert "connection" not in answer.headers
        assert [request.path for request in running.service.requests] == [b"/1", b"/2", b"/3"]


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    at_work = 0

    async def slower_first(request: Request, reply: Reply) -> None:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        for _ in range(10 - int(request.target[1:])):
            await asyncio.sleep(0)
        at_work -= 1
        await reply.send(OK, request.target)

    async with serving(slower_first) as running, running.wire() as wire:
        wire.say(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(10)))
        assert [(await wire.answer()).body for _ in range(10)] == [b"/%d" % number for number in range(10)]


async def test_requests_that_come_while_another_is_answered_wait_their_turn() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(request: Request, reply: Reply) -> None:
        begun.set()
        await go.wait()
        await reply.send(OK, request.body)

    large = POST + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000  # more than is read ahead
    async with serving(wait) as running, running.wire() as wire:
        wire.say(GET)
        await begun.wait()
        wire.say(large + GET)
        connection = running.connections[0]
        await until(lambda: connection._paused)
        assert len(connection._early) < 400_000
        go.set()
        assert [len((await wire.answer()).body) for _ in range(3)] == [0, 300_000, 0]


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as running, running.wire() as wire:
        wire.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in POST + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            wire.say(bytes([byte]))
            await asyncio.sleep(0)
        assert (await wire.answer()).body == b"POST /a abcde"


async def test_header_names_are_folded_and_order_and_duplicates_kept() -> None:
    async with serving() as running, running.wire() as wire:
        await wire.ask(b"GET / HTTP/1.1\r\nHost: x\r\nB:  two \t\r\na: 1\r\nb: \xff\r\n\r\n")
        assert running.service.requests[0].headers == (
            (b"host", b"x"), (b"b", b"two"), (b"a", b"1"), (b"b", b"\xff"),
        )  # fmt: skip


@pytest.mark.parametrize("expectation", [b"100-continue", b"100-Continue"])
async def test_a_client_that_asks_is_told_to_go_on(expectation: bytes) -> None:
    async with serving() as running, running.wire() as wire:
        assert (await wire.ask(POST + b"Content-Length: 2\r\nExpect: %s\r\n\r\n" % expectation)).status == 100
        assert (await wire.ask(b"hi")).body == b"POST /a hi"


async def test_a_client_is_not_told_to_go_on_with_a_body_that_would_be_refused() -> None:
    async with serving(limits=Limits(body=1)) as running, running.wire() as wire:
        assert (await wire.ask(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")).status == 413


async def test_an_interim_answer_never_stands_in_another_request_s_answer() -> None:
    async with serving() as running, running.wire() as wire:
        wire.say(GET + POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        assert [(await wire.answer()).body for _ in range(2)] == [b"GET /a ", b"POST /a hi"]


async def test_what_one_request_wastes_is_not_counted_against_the_next() -> None:
    async with serving(limits=LOW) as running, running.wire() as wire:
        for _ in range(30):
            assert (
                await wire.ask(POST + b"A: " + b" " * 100 + b"b\r\nContent-Length: 0\r\n\r\n")
            ).status == 200


async def test_connection_close_is_honoured_and_announced() -> None:
    async with serving() as running, running.wire() as wire:
        answer = await wire.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.headers["connection"] == "close"
        assert await wire.rest() == b""


# -- answers ---------------------------------------------------------------------------------------------


async def test_an_event_reaches_the_client_before_the_next_is_written() -> None:
    seen = asyncio.Event()

    async def events(request: Request, reply: Reply) -> None:
        await reply.start(SSE)
        await reply.write(b"data: 1\n\n")
        await seen.wait()
        await reply.write(b"data: 2\n\n")
        reply.finish()

    async with serving(events) as running, running.wire() as wire:
        wire.say(GET)
        assert (await wire.head()).headers["content-type"] == "text/event-stream"
        assert await wire.chunk() == b"data: 1\n\n"
        seen.set()
        assert [await wire.chunk(), await wire.chunk()] == [b"data: 2\n\n", b""]
        assert (await wire.ask(GET)).status == 200  # and the connection lives on


async def test_a_writer_waits_for_a_client_that_does_not_read() -> None:
    written = 0

    async def flood(request: Request, reply: Reply) -> None:
        nonlocal written
        await reply.start(OK)
        for _ in range(1024):
            await reply.write(b"x" * 65536)
            written += 65536
        reply.finish()

    async with serving(flood) as running, running.wire() as wire:
        wire.say(GET)
        await wire.head()
        await until(lambda: not running.connections[0]._gate._open)
        assert written < 32 * 1024 * 1024  # what the kernel and this client's reader hold, not the 64 MiB
        length = 0
        while chunk := await wire.chunk():
            length += len(chunk)
        assert length == 1024 * 65536


async def test_a_client_that_never_reads_is_dropped_and_its_handler_cancelled() -> None:
    cancelled = asyncio.Event()

    async def flood(request: Request, reply: Reply) -> None:
        await reply.start(OK)
        try:
            while True:
                await reply.write(b"x" * 65536)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(flood, Limits(write_timeout=0.05)) as running, running.wire() as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        wire.say(GET)
        await cancelled.wait()
        await running.all_gone()


async def test_a_client_that_takes_no_farewell_is_dropped_in_the_end() -> None:
    async def big(request: Request, reply: Reply) -> None:
        reply.keep_alive = False
        reply.send_now(OK, b"x" * 32 * 1024 * 1024)

    async with serving(big, Limits(write_timeout=0.05)) as running, running.wire() as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        wire.say(GET)
        await until(lambda: bool(running.service.requests))
        await running.all_gone()


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none_and_no_length(status: int) -> None:
    async def send(request: Request, reply: Reply) -> None:
        await reply.send(ResponseHead(status, ()), b"nobody reads this")

    async def stream(request: Request, reply: Reply) -> None:
        await reply.start(ResponseHead(status, ()))
        await reply.write(b"nor this")
        reply.finish()

    for handler in (send, stream):
        async with serving(handler) as running, running.wire() as wire:
            wire.say(GET + GET)
            for _ in range(2):
                answer = await wire.head()
                assert answer.status == status
                assert not {"content-length", "transfer-encoding"} & set(answer.headers)


async def test_head_is_answered_without_a_body_and_keeps_the_connection_in_step() -> None:
    async with serving() as running, running.wire() as wire:
        wire.say(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert (await wire.head()).headers["content-length"] == "8"
        assert (await wire.answer()).body == b"GET /a "


async def test_framing_that_a_handler_passes_on_is_replaced_by_our_own() -> None:
    async def relay(request: Request, reply: Reply) -> None:
        copied = ((b"content-length", b"999"), (b"transfer-encoding", b"chunked"), (b"connection", b"close"))
        await reply.send(ResponseHead(200, (*copied, (b"x-kept", b"1"))), b"ok")

    async with serving(relay) as running, running.wire() as wire:
        assert await wire.ask(GET) == (200, {"content-length": "2", "x-kept": "1"}, b"ok")


SPLIT = ResponseHead(200, ((b"x", b"a\r\nset-cookie: b"),))


async def _twice(reply: Reply) -> None:
    await reply.send(OK, b"1")
    await reply.send(OK, b"2")


async def _after_the_end(reply: Reply) -> None:
    await reply.send(OK, b"1")
    await reply.write(b"2")


async def _finish_after_send(reply: Reply) -> None:
    await reply.send(OK, b"1")
    reply.finish()


@pytest.mark.parametrize("misuse", [_twice, _after_the_end, _finish_after_send])
async def test_bytes_outside_the_one_answer_are_never_written(
    misuse: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await misuse(reply)  # type: ignore[call-arg, arg-type]  # these ask for the reply alone

    async with serving(handler) as running, running.wire() as wire:
        wire.say(GET)
        assert (await wire.rest()).endswith((b"\r\n\r\n1", b""))
    assert "RuntimeError" in caplog.text


# -- faults of ours --------------------------------------------------------------------------------------


async def _raises(request: Request, reply: Reply) -> None:
    raise LookupError("secret detail")


async def _answers_nothing(request: Request, reply: Reply) -> None:
    pass


async def _splits(request: Request, reply: Reply) -> None:
    await reply.send(SPLIT, b"")


@pytest.mark.parametrize("fault", [_raises, _answers_nothing, _splits])
async def test_a_faulty_handler_is_answered_500_and_harms_nobody_else(
    fault: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.target == b"/fault":
            await fault(request, reply)
        else:
            await reply.send(OK, b"fine")

    async with serving(handler) as running, running.wire() as other, running.wire() as wire:
        assert (await other.ask(GET)).body == b"fine"
        answer = await wire.ask(b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.body) == (500, b"internal\n")
        assert (await other.ask(GET)).body == b"fine"
        assert (await wire.ask(GET)).body == b"fine"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("error", [LookupError("x"), None])
async def test_a_stream_whose_handler_dies_is_cut_not_ended(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    read = asyncio.Event()

    async def dies(request: Request, reply: Reply) -> None:
        await reply.start(OK)
        await reply.write(b"part")
        await read.wait()
        if error:
            raise error

    async with serving(dies) as running, running.wire() as wire:
        wire.say(GET)
        await wire.head()
        assert await wire.chunk() == b"part"
        read.set()
        assert await wire.rest() == b""  # no last chunk


async def test_a_handler_that_cancels_itself_does_not_leave_its_connection_hanging() -> None:
    async def cancels(request: Request, reply: Reply) -> None:
        raise asyncio.CancelledError

    async with serving(cancels) as running, running.wire() as wire:
        wire.say(GET)
        assert await wire.rest() == b""
        await running.all_gone()


# -- ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [b"", GET[:5], GET * 3], ids=["nothing", "half a request", "more requests"])
async def test_a_client_that_leaves_cancels_the_handler(ahead: bytes) -> None:
    handler = Endless()
    async with serving(handler) as running, running.wire() as wire:
        wire.say(GET)
        await handler.begun.wait()
        wire.say(ahead)
        wire.writer.close()
        await handler.cancelled.wait()
        await running.all_gone()
        assert len(running.service.requests) == 1


async def test_a_client_that_resets_cancels_the_handler() -> None:
    handler = Endless()
    async with serving(handler) as running, running.wire() as wire:
        wire.say(GET)
        await handler.begun.wait()
        wire.cut()
        await handler.cancelled.wait()


async def test_a_handler_is_cancelled_once_so_that_its_cleaning_up_is_not() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def tidy(request: Request, reply: Reply) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            cleaned.set()

    async with serving(tidy) as running, running.wire() as wire:
        wire.say(GET)
        await begun.wait()
        wire.writer.close()
        await running.all_gone()
        await cleaned.wait()


async def test_what_a_client_sent_before_it_left_is_not_kept() -> None:
    """The garbage collector would come for it, after many megabytes: it counts objects."""
    handler = Endless()
    async with serving(handler) as running, running.wire() as wire:
        wire.say(GET)
        await handler.begun.wait()
        (connection,) = running.connections
        wire.say(POST + b"Content-Length: 100\r\n\r\n" + b"x" * 50)
        await until(lambda: bool(connection._early))
        wire.cut()
        await running.all_gone()
        assert connection._early == b""


async def test_half_a_body_is_not_kept_either() -> None:
    async with serving() as running, running.wire() as wire:
        wire.say(POST + b"Content-Length: 100\r\n\r\n" + b"x" * 50)
        await until(lambda: any(connection._body for connection in running.connections))
        (connection,) = running.connections
        wire.cut()
        await running.all_gone()
        assert len(connection._body) == 0


@pytest.mark.parametrize(
    ("head", "piece", "kept"),
    [
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nxx\r\n", 2, id="chunks of two bytes"),
        pytest.param(b"", b"a:\r\n", 37, id="headers of one byte"),
    ],
)
async def test_the_smallest_pieces_take_no_more_memory_than_they_count(
    head: bytes, piece: bytes, kept: int
) -> None:
    """Bytes are bounded, and objects are not: a header counts 32 bytes more than its own (RFC 9113)."""
    count = 20_000
    async with serving(limits=Limits(head=kept * count + 200)) as running, running.wire() as wire:
        wire.say(POST + head)
        await until(lambda: any(connection._target for connection in running.connections))
        (connection,) = running.connections
        tracemalloc.start()
        try:
            connection.data_received(piece * count)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < 6 * kept * count
        assert running.service.rejections == []
        wire.cut()


async def test_bodies_on_their_way_are_bounded_over_all_connections() -> None:
    """Each is small enough; together they are not. What is let go of leaves room again."""
    half = POST + b"Content-Length: 100\r\n\r\n" + b"x" * 60
    async with serving(limits=Limits(bodies=130, linger_timeout=0.05)) as running:
        async with running.wire() as one, running.wire() as two, running.wire() as three:
            one.say(half)
            two.say(half)
            await until(lambda: sum(connection._held for connection in running.connections) == 120)
            three.say(half)
            assert b" 503 " in await three.rest()
            assert [refused.reason for refused in running.service.rejections] == [Reason.HTTP_BUSY]
            one.cut()
            await until(lambda: len(running.connections) == 1)
            two.say(b"x" * 40)
            assert (await two.answer()).body.endswith(b"x" * 100)
        await running.all_gone()
        assert running.http._bodies == 0


async def test_a_body_counts_until_it_is_answered() -> None:
    handler = Endless()
    async with serving(handler, limits=Limits(bodies=5)) as running, running.wire() as wire:
        wire.say(POST + b"Content-Length: 4\r\n\r\nbody")
        await handler.begun.wait()
        assert running.http._bodies == 4
        wire.cut()
        await running.all_gone()
        assert running.http._bodies == 0


async def test_there_are_never_more_connections_than_the_limit() -> None:
    async with serving(limits=Limits(connections=1)) as running, running.wire() as first:
        await first.ask(GET)
        async with running.wire() as second:
            await second.ask(GET)
            assert await first.rest() == b""  # idle, it has given way
            assert len(running.connections) == 1


async def test_who_says_nothing_or_never_ends_gives_way_and_who_is_being_answered_does_not() -> None:
    handler = Endless()
    async with serving(handler, limits=Limits(connections=3)) as running, running.wire() as busy:
        busy.say(GET)
        await handler.begun.wait()
        async with running.wire() as slow, running.wire() as silent:
            slow.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nnever")
            await until(lambda: len(running.connections) == 3)
            async with running.wire(), running.wire():
                assert [await slow.rest(), await silent.rest()] == [b"", b""]
                assert not handler.cancelled.is_set()


async def test_where_everybody_works_the_newest_has_come_too_late() -> None:
    handler = Endless()
    async with serving(handler, limits=Limits(connections=1)) as running, running.wire() as busy:
        busy.say(GET)
        await handler.begun.wait()
        async with running.wire() as newest:
            assert await newest.rest() == b""
        assert not handler.cancelled.is_set()


async def test_a_connection_that_is_drained_answers_and_says_that_it_was_the_last() -> None:
    async with serving() as running, running.wire() as wire:
        await wire.ask(GET)
        (connection,) = running.connections
        connection.drain()
        assert (await wire.ask(GET)).headers["connection"] == "close"
        assert await wire.rest() == b""


async def test_an_answer_that_has_not_begun_when_its_connection_is_drained_says_so_too() -> None:
    handler = Held()
    async with serving(handler) as running, running.wire() as wire:
        wire.say(GET)
        await handler.begun.wait()
        running.connections[0].drain()
        handler.release.set()
        assert (await wire.answer()).headers["connection"] == "close"
        assert await wire.rest() == b""


async def test_an_idle_connection_that_is_finished_closes_now() -> None:
    async with serving() as running, running.wire() as wire:
        await wire.ask(GET)
        running.connections[0].finish()
        assert await wire.rest() == b""


async def test_a_request_that_is_still_coming_when_its_connection_is_finished_is_not_answered() -> None:
    """Nobody watches over the connection any more: an answer could go on for as long as it likes."""
    async with serving(Endless()) as running, running.wire() as wire:
        wire.say(GET[:-2])
        [connection] = running.connections
        await until(lambda: not connection._idle)
        connection.finish()
        wire.say(GET[-2:])
        assert await wire.rest() == b""
        assert running.service.requests == []


async def test_a_handler_that_does_not_end_with_its_connection_is_cancelled() -> None:
    handler = Endless()
    async with serving(handler, limits=Limits(linger_timeout=0.05)) as running, running.wire() as wire:
        wire.say(GET)
        await handler.begun.wait()
        running.connections[0].finish()
        await handler.cancelled.wait()
        assert await wire.rest() == b""


async def test_closing_the_server_ends_idle_and_busy_connections() -> None:
    handler = Endless()
    async with serving(handler) as running, running.wire() as busy, running.wire() as idle:
        busy.say(GET)
        await handler.begun.wait()
        await until(lambda: len(running.connections) == 2)
        running.http.close()
        await handler.cancelled.wait()
        assert [await busy.rest(), await idle.rest()] == [b"", b""]


async def test_a_connection_that_comes_after_the_close_is_ended() -> None:
    async with serving() as running:
        running.http.close()
        async with running.wire() as wire:
            wire.say(GET)
            assert await wire.rest() == b""
        assert running.service.requests == []


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(limits=Limits(idle_timeout=0.05)) as running, running.wire() as wire:
        assert await wire.rest() == b""
        assert running.service.rejections == []


async def test_a_connection_idle_after_a_request_is_closed_without_a_word() -> None:
    async with serving(limits=Limits(idle_timeout=0.05)) as running, running.wire() as wire:
        await wire.ask(GET)
        assert await wire.rest() == b""
        assert running.service.rejections == []


SLOW = {
    "in the start line": GET[:5],
    "in the head": GET[:-2],
    "in the body": POST + b"Content-Length: 5\r\n\r\nhell",
    "behind another request": GET + GET[:5],
}


@pytest.mark.parametrize("beginning", SLOW.values(), ids=SLOW)
async def test_a_request_that_does_not_end_times_out(beginning: bytes) -> None:
    limits = Limits(read_timeout=0.05, linger_timeout=0.05)
    async with serving(limits=limits) as running, running.wire() as wire:
        wire.say(beginning)
        answer = (await wire.rest()).rpartition(b"HTTP/1.1 ")[2]
        assert answer.startswith(b"408 ")
        assert answer.endswith(b"http.timeout\n")
        assert [refused.reason for refused in running.service.rejections] == [Reason.HTTP_TIMEOUT]


async def test_a_long_handler_is_not_a_slow_request() -> None:
    async def longer_than_the_limit(request: Request, reply: Reply) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.call_later(0.15, over.set)
        await over.wait()
        await reply.send(OK, b"done")

    limits = Limits(read_timeout=0.05, idle_timeout=0.05)
    async with serving(longer_than_the_limit, limits) as running, running.wire() as wire:
        wire.say(GET + GET[:5])
        assert (await wire.answer()).body == b"done"


# -- refusals --------------------------------------------------------------------------------------------

TE = b"Transfer-Encoding: chunked"
CHUNKED = POST + TE + b"\r\n\r\n"
MALFORMED, FRAMING, HOST = Reason.HTTP_MALFORMED, Reason.HTTP_FRAMING, Reason.HTTP_HOST
VERSION, TARGET = Reason.HTTP_VERSION, Reason.HTTP_TARGET
HEAD_TOO_LARGE, BODY_TOO_LARGE = Reason.HTTP_HEAD_TOO_LARGE, Reason.HTTP_BODY_TOO_LARGE


def with_header(line: bytes, body: bytes = b"") -> bytes:
    return POST + line + b"\r\n\r\n" + body


def with_target(target: bytes) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target


REFUSED = {
    # the length of the body
    "length and chunked": (with_header(b"Content-Length: 5\r\n" + TE, b"0\r\n\r\n"), MALFORMED),
    "chunked and length": (with_header(TE + b"\r\nContent-Length: 5", b"0\r\n\r\n"), MALFORMED),
    "two lengths": (with_header(b"Content-Length: 5\r\nContent-Length: 6", b"hello"), MALFORMED),
    "the same length twice": (with_header(b"Content-Length: 5\r\nContent-Length: 5", b"hello"), MALFORMED),
    "a list of lengths": (with_header(b"Content-Length: 5, 5", b"hello"), MALFORMED),
    "a negative length": (with_header(b"Content-Length: -5", b"hello"), MALFORMED),
    "a length with a sign": (with_header(b"Content-Length: +5", b"hello"), MALFORMED),
    "a hexadecimal length": (with_header(b"Content-Length: 0x5", b"hello"), MALFORMED),
    "an empty length": (with_header(b"Content-Length: "), MALFORMED),
    "a length with a gap": (with_header(b"Content-Length: 5 5", b"hello"), MALFORMED),
    "a length beyond 64 bits": (with_header(b"Content-Length: 18446744073709551621", b"hello"), MALFORMED),
    "a coding before chunked": (with_header(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"), FRAMING),
    "chunked twice": (with_header(TE + b"\r\n" + TE, b"0\r\n\r\n"), MALFORMED),
    "chunked twice in a line": (with_header(b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n"), MALFORMED),
    "identity": (with_header(b"Transfer-Encoding: identity"), FRAMING),
    "almost chunked": (with_header(b"Transfer-Encoding: xchunked"), FRAMING),
    "chunked behind a vertical tab": (with_header(b"Transfer-Encoding: \x0bchunked"), MALFORMED),
    "transfer_encoding with a space": (with_header(b"Transfer-Encoding : chunked", b"0\r\n\r\n"), MALFORMED),
    # chunks
    "a chunk of no number": (CHUNKED + b"xyz\r\n\r\n", MALFORMED),
    "a chunk of a negative size": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", MALFORMED),
    "a chunk with 0x": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", MALFORMED),
    "a chunk with a sign": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", MALFORMED),
    "a chunk size beyond 64 bits": (CHUNKED + b"fffffffffffffffff\r\nhello", MALFORMED),
    "a chunk longer than it says": (CHUNKED + b"5\r\nhelloXX\r\n0\r\n\r\n", MALFORMED),
    "a chunk size ended by a bare LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", MALFORMED),
    "a chunk ended by a bare LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", MALFORMED),
    "a chunk extension ended by a bare LF": (CHUNKED + b"5;a=b\nhello\r\n0\r\n\r\n", MALFORMED),
    "a trailer": (CHUNKED + b"0\r\nMesh-User-Context: forged\r\n\r\n", FRAMING),
    "a second Host as a trailer": (CHUNKED + b"0\r\nHost: evil\r\n\r\n", FRAMING),
    # lines and headers
    "a folded line": (with_header(b"X: a\r\n b"), MALFORMED),
    "a folded length": (with_header(b"Content-Length:\r\n 5", b"hello"), MALFORMED),
    "a bare LF after the start line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", MALFORMED),
    "a bare LF after a header": (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", MALFORMED),
    "a bare LF at the end of the head": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", MALFORMED),
    "a bare CR in a value": (with_header(b"A: b\rC: d"), MALFORMED),
    "a NUL in a value": (with_header(b"A: b\0c"), MALFORMED),
    "a NUL in a name": (with_header(b"A\0: b"), MALFORMED),
    "a control character in a value": (with_header(b"A: b\x01"), MALFORMED),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", MALFORMED),
    "a space before the name": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", MALFORMED),
    "a space in a name": (with_header(b"A b: c"), MALFORMED),
    "a line without a colon": (with_header(b"foo"), MALFORMED),
    "a header without a name": (with_header(b": foo"), MALFORMED),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", HOST),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", HOST),
    "the same Host twice": (b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", HOST),
    "two Hosts in a line": (b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", HOST),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", HOST),
    "a Host with user information": (b"GET / HTTP/1.1\r\nHost: x@y\r\n\r\n", HOST),
    # versions and protocols
    "HTTP/0.9": (b"GET /\r\n\r\n", VERSION),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", VERSION),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", MALFORMED),
    "HTTP/2.0 in words": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", VERSION),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MALFORMED),
    "RTSP": (b"SETUP / RTSP/1.0\r\nHost: x\r\n\r\n", VERSION),
    "an upgrade": (with_header(b"Connection: upgrade\r\nUpgrade: websocket", b"abc"), MALFORMED),
    "an upgrade to h2c": (with_header(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"), MALFORMED),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    "TLS": (bytes.fromhex("160301020001000001fc0303"), MALFORMED),
    "an unknown method": (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    "a tab in the start line": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    # targets
    "an absolute target": (with_target(b"http://a/b"), TARGET),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", TARGET),
    "an authority for a target": (with_target(b"a:1"), MALFORMED),
    "a fragment": (with_target(b"/a#b"), TARGET),
    "a backslash": (with_target(b"/a\\b"), TARGET),
    "a quote": (with_target(b'/"'), TARGET),
    "half an escape": (with_target(b"/a%4"), TARGET),
    "a NUL in the target": (with_target(b"/a\0b"), MALFORMED),
    "UTF-8 in the target": (with_target(b"/\xc3\xa9"), MALFORMED),
    "a space in the target": (with_target(b"/a b"), MALFORMED),
    # sizes; the limits of the test are 1024 for the head and 4096 for the body
    "a large head": (with_header(b"A: " + b"x" * 1100), HEAD_TOO_LARGE),
    "many headers": (with_header(b"\r\n".join([b"a:"] * 300)), HEAD_TOO_LARGE),
    "a large target": (with_target(b"/" + b"x" * 1100), HEAD_TOO_LARGE),
    "an endless header line": (POST + b"A: " + b"x" * 5000, HEAD_TOO_LARGE),
    "an endless header name": (POST + b"x" * 5000, HEAD_TOO_LARGE),
    "an endless chunk extension": (CHUNKED + b"1;" + b"x" * 5000, HEAD_TOO_LARGE),
    "endless chunk extensions": (CHUNKED + (b"1;" + b"x" * 500 + b"\r\na\r\n") * 9, HEAD_TOO_LARGE),
    "an endless trailer": (CHUNKED + b"0\r\nA: " + b"x" * 5000, HEAD_TOO_LARGE),
    "a large body announced": (with_header(b"Content-Length: 4097"), BODY_TOO_LARGE),
    "a body of 10^19 bytes": (with_header(b"Content-Length: 9999999999999999999"), BODY_TOO_LARGE),
    "a large body in chunks": (CHUNKED + (b"900\r\n" + b"x" * 2304 + b"\r\n") * 2, BODY_TOO_LARGE),
}  # fmt: skip

LOW = Limits(head=1024, body=4096, linger_timeout=0.5)


@pytest.mark.parametrize(("request_bytes", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_request_is_refused_once_and_never_handled(request_bytes: bytes, reason: Reason) -> None:
    async with serving(limits=LOW) as running, running.wire() as wire:
        answer = await wire.ask(request_bytes)
        assert (answer.status, answer.body) == (reason.status, reason.code.encode() + b"\n")
        assert answer.headers["connection"] == "close"
        wire.say(GET)  # nothing after it is read
        assert await wire.rest() == b""
        assert [refused.reason for refused in running.service.rejections] == [reason]
        assert running.service.requests == []


@pytest.mark.parametrize(("request_bytes", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_request_behind_a_good_one_is_refused_after_its_answer(
    request_bytes: bytes, reason: Reason
) -> None:
    async with serving(limits=LOW) as running, running.wire() as wire:
        assert (await wire.ask(GET + request_bytes)).body == b"GET /a "
        assert (await wire.answer()).status == reason.status
        assert await wire.rest() == b""
        assert [refused.reason for refused in running.service.rejections] == [reason]
        assert len(running.service.requests) == 1


async def test_garbage_behind_a_request_that_closes_gets_no_answer_of_its_own() -> None:
    async with serving() as running, running.wire() as wire:
        wire.say(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + b"garbage")
        answer = await wire.rest()
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b"GET /a ")
        assert [refused.reason for refused in running.service.rejections] == [MALFORMED]


async def test_a_client_still_sending_reads_why_it_was_refused() -> None:
    """Closing at once upon unread bytes would reset the connection, and the answer with it."""
    async with serving(limits=LOW) as running, running.wire() as wire:
        wire.say(with_header(b"Content-Length: 9000000"))
        for _ in range(100):
            wire.say(b"x" * 65536)
            await asyncio.sleep(0)
        assert (await wire.answer()).status == 413


async def test_a_refused_client_that_stays_is_closed() -> None:
    async with serving(limits=Limits(linger_timeout=0.05)) as running, running.wire() as wire:
        wire.say(b"nonsense\r\n\r\n")
        await until(lambda: bool(running.service.rejections))
        await running.all_gone()


ACCEPTED = {
    "a double slash": with_target(b"//a/../b"),
    "escapes and a query": with_target(b"/a%2Fb?c=d&e=%20"),
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "a Host with a port": b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "empty lines before the request": b"\r\n\r\n" + GET,
    "a coding in capitals": with_header(b"Transfer-Encoding: CHUNKED", b"2\r\nhi\r\n0\r\n\r\n"),
    "a body with GET": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    "an offer to upgrade that is none": with_header(b"Upgrade: h2c"),
    "an expectation we do not know": with_header(b"Expect: 200-ok"),
    "a body of exactly the limit": with_header(b"Content-Length: 4096", b"x" * 4096),
    "a body in many chunks": (CHUNKED + b"1\r\na\r\n" * 4000 + b"0\r\n\r\n"),
    "a head just within the limit": with_header(b"A: " + b"x" * 900),
}


@pytest.mark.parametrize("request_bytes", ACCEPTED.values(), ids=ACCEPTED)
async def test_what_is_unusual_but_clear_is_handled(request_bytes: bytes) -> None:
    async with serving(limits=LOW) as running, running.wire() as wire:
        assert (await wire.ask(request_bytes)).status == 200
        assert running.service.rejections == []
