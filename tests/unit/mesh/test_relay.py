"""An answer is passed on as it arrives, in the form it has, and never past its time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Response, ResponseHead
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.patience import Patience, StreamLimits
from spiffe_mcp.mesh.relay import (
    HELD_BYTES,
    Ending,
    Filter,
    Nothing,
    PassThrough,
    Unanswered,
    content_type,
    is_event_stream,
    pass_on,
)

JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream")
PATIENT = StreamLimits()


@dataclass
class Answer:
    """An answer whose chunks come one by one; an event among them is waited for."""

    head: ResponseHead
    chunks: tuple[bytes | asyncio.Event, ...] = ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, asyncio.Event):
                await chunk.wait()
            else:
                yield chunk


@dataclass
class Client:
    """Who reads: everything it gets, in order."""

    got: list[Any] = field(default_factory=list)
    started: bool = False

    async def send(self, head: ResponseHead, body: bytes) -> None:
        self.started = True
        self.got += [head, body, "end"]

    async def start(self, head: ResponseHead) -> None:
        self.started = True
        self.got.append(head)

    async def write(self, chunk: bytes) -> None:
        if chunk:
            self.got.append(chunk)

    def finish(self) -> None:
        self.got.append("end")


class Shouting:
    """A filter that holds everything back and says it at the end, in capitals."""

    answered: Final = False

    def __init__(self) -> None:
        self.held = b""

    def feed(self, chunk: bytes) -> bytes:
        self.held += chunk
        return b""

    def finish(self) -> bytes:
        return self.held.upper()


class Refusing(PassThrough):
    """A filter that takes one chunk."""

    def __init__(self) -> None:
        self._chunks: Iterator[None] = iter([None])

    def feed(self, chunk: bytes) -> bytes:
        if next(self._chunks, chunk) is None:
            return chunk
        raise Refused(Reason.MCP_ANSWER_MALFORMED)


async def passed_on(
    answer: Answer, through: Filter, client: Client, limits: StreamLimits = PATIENT
) -> Ending:
    with Patience(limits, Interruption()) as patience:
        return await pass_on(cast("Response", answer), through, cast("Reply", client), patience)


async def passed(
    header: tuple[bytes, bytes] | tuple[()],
    *chunks: bytes | asyncio.Event,
    status: int = 200,
    through: Filter | None = None,
    limits: StreamLimits = PATIENT,
    client: Client | None = None,
) -> list[Any]:
    client = client or Client()
    answer = Answer(ResponseHead(status, (header,) if header else ()), chunks)
    ending = await passed_on(answer, through or PassThrough(), client, limits)
    await ending.send()
    return client.got


async def test_an_answer_that_is_held_leaves_in_one_piece() -> None:
    assert await passed(JSON, b"a", b"b", through=Shouting()) == [ResponseHead(200, (JSON,)), b"AB", "end"]


async def test_an_answer_that_passes_leaves_in_one_piece_too() -> None:
    assert await passed(JSON, b"a", b"b") == [ResponseHead(200, (JSON,)), b"ab", "end"]


async def test_an_answer_too_large_to_hold_leaves_as_it_comes() -> None:
    large = b"a" * (HELD_BYTES + 1)
    assert await passed(JSON, large, b"b") == [ResponseHead(200, (JSON,)), large, b"b", "end"]


async def test_the_last_piece_waits_for_whoever_passes_it_on() -> None:
    """The record is written before it."""
    client = Client()
    answer = Answer(ResponseHead(200, (JSON,)), (b"a",))
    ending = await passed_on(answer, PassThrough(), client)
    assert client.got == []
    await ending.send()
    assert client.got == [ResponseHead(200, (JSON,)), b"a", "end"]


async def test_a_stream_of_events_is_begun_before_its_first_event() -> None:
    """A client waits for the head to know that it was heard."""
    client, event = Client(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(passed(SSE, event, b"x", client=client))
        await asyncio.sleep(0)
        assert client.got == [ResponseHead(200, (SSE,))]
        event.set()
    assert client.got[1:] == [b"x", "end"]


async def test_each_event_leaves_before_the_next_one_comes() -> None:
    client, event = Client(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(passed(SSE, b"one", event, b"two", client=client))
        await asyncio.sleep(0)
        assert client.got[1:] == [b"one"]
        event.set()


async def test_the_end_of_a_filter_goes_out_too() -> None:
    assert (await passed(SSE, b"a", through=Shouting()))[1:] == [b"A", "end"]


async def test_an_answer_without_a_body_stays_one() -> None:
    assert await passed((), status=202) == [ResponseHead(202, ()), b"", "end"]


async def test_what_has_nothing_to_say_says_nothing() -> None:
    assert await passed(JSON, b"secret", through=Nothing()) == [ResponseHead(200, (JSON,)), b"", "end"]


async def test_only_listed_headers_go_back() -> None:
    got = await passed((b"set-cookie", b"a=b"), status=204)
    assert got[0] == ResponseHead(204, ())


async def test_a_filter_that_refuses_ends_it_there() -> None:
    client = Client()
    with pytest.raises(Refused) as caught:
        await passed(SSE, b"a", b"b", b"c", through=Refusing(), client=client)
    assert caught.value.reason is Reason.MCP_ANSWER_MALFORMED
    assert client.got == [ResponseHead(200, (SSE,)), b"a"]  # and no end


@pytest.mark.parametrize("chunks", [(), (b"a",)], ids=["at once", "after a while"])
async def test_an_answer_that_falls_silent_is_given_up(chunks: tuple[bytes, ...]) -> None:
    client = Client()
    with pytest.raises(Refused) as caught:
        await passed(SSE, *chunks, asyncio.Event(), limits=StreamLimits(idle=0.02), client=client)
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
    assert client.got[1:] == [*chunks]


async def test_an_answer_that_never_ends_is_given_up_in_the_end() -> None:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b"."

    @dataclass
    class Endless(Answer):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return forever()

    endless = Endless(ResponseHead(200, (SSE,)))
    with pytest.raises(Refused) as caught:
        await passed_on(endless, PassThrough(), Client(), StreamLimits(idle=60, total=0.05))
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


async def test_the_bound_on_all_of_it_counts_from_the_beginning() -> None:
    with pytest.raises(Refused):
        await passed(SSE, asyncio.Event(), limits=StreamLimits(idle=60, total=0.02))


@pytest.mark.parametrize(
    ("value", "is_stream"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b" text/event-stream ", True),
        (b"text/event-streams", False),
        (b"application/json", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_what_is_a_stream_of_events(value: bytes, is_stream: bool) -> None:
    assert is_event_stream(((b"content-type", value),)) is is_stream


def test_no_content_type_is_none() -> None:
    assert content_type(()) is None
    assert not is_event_stream(())


async def test_an_answer_with_two_content_types_is_refused_before_a_byte() -> None:
    client = Client()
    answer = Answer(ResponseHead(200, (JSON, SSE)), (b"x",))
    with pytest.raises(Refused) as caught:
        await passed_on(answer, PassThrough(), client)
    assert caught.value.reason is Reason.UPSTREAM_BROKEN
    assert client.got == []


class Waiting:
    """A filter of an answer that has not come yet."""

    answered: Final = False

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


async def test_whoever_still_waits_in_a_stream_that_falls_silent_can_be_told_so() -> None:
    with pytest.raises(Unanswered) as caught:
        await passed(SSE, b"a", asyncio.Event(), through=Waiting(), limits=StreamLimits(idle=0.02))
    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
