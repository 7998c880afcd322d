"""Passing an answer on as it arrives: chunk in, filtered chunk out, no faster than the client reads."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Reply, Response, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp.answer_filter import EVENT_STREAM
from spiffe_mcp.mesh import headers

T = TypeVar("T")

HELD_BYTES: Final = 256 * 1024  # of an answer that is no stream of events, until it is known to be whole


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long an answer may take: until something more comes, and altogether. Seconds."""

    idle: float = 300.0
    total: float = 3600.0


class Filter(Protocol):
    """What stands between an answer and who reads it."""

    @property
    def answered(self) -> bool:
        """Whether the caller has, or may have, its answer: then it must not get another."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now; raises `Refused`."""

    def finish(self) -> bytes:
        """What may be sent on at the end; raises `Refused`."""


class PassThrough:
    """The filter of an answer that was filtered where it came from, and is not read here."""

    answered: Final = True

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` itself."""
        return chunk

    def finish(self) -> bytes:
        """Nothing more."""
        return b""


class Nothing:
    """The filter of an answer that has nothing to say: whatever body comes is not passed on."""

    answered: Final = True

    def feed(self, _: bytes) -> bytes:
        """Nothing."""
        return b""

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class Unanswered(Refused):
    """Refused after a stream of events has begun and before the answer was in it: the caller still waits."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The last piece of an answer, not sent yet, because the record of the exchange is written before it."""

    reply: Reply
    head: ResponseHead
    rest: bytes

    async def send(self) -> None:
        """Send it: the answer is whole."""
        if self.reply.started:
            await self.reply.write(self.rest)
            self.reply.finish()
        else:
            await self.reply.send(self.head, self.rest)


async def begun(awaited: Awaitable[T], limits: StreamLimits) -> T:
    """What is awaited, a response's head say; raises `Refused(UPSTREAM_TIMEOUT)`, or what the wait raises."""
    try:
        async with asyncio.timeout(min(limits.idle, limits.total)):
            return await awaited
    except TimeoutError:
        raise Refused(Reason.UPSTREAM_TIMEOUT, "no answer has begun") from None


async def pass_on(response: Response, passing: Filter, reply: Reply, limits: StreamLimits) -> Ending:
    """Send the answer to the client, but for its `Ending`.

    A stream of events is begun at once and every event leaves as it comes; other answers are held back until
    they are whole, up to `HELD_BYTES`. Raises `Refused`: UPSTREAM_TIMEOUT, what broke the response, or what
    the filter raises; as `Unanswered` where that is so.
    """
    events = is_event_stream(response.head.headers)
    with caller_waiting(response, passing, reply):
        return await _passed(response, passing, reply, limits, HELD_BYTES if not events else 0)


@contextmanager
def caller_waiting(response: Response, passing: Filter, reply: Reply) -> Iterator[None]:
    """What is refused inside comes out as `Unanswered`, if a stream has begun and has no answer in it yet."""
    try:
        yield
    except Refused as refused:
        if is_event_stream(response.head.headers) and reply.started and not passing.answered:
            raise Unanswered(refused.reason, refused.detail) from refused
        raise


async def _passed(
    response: Response, passing: Filter, reply: Reply, limits: StreamLimits, held_bytes: int
) -> Ending:
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.total
    head = ResponseHead(response.head.status, headers.passed_response(response.head.headers))
    held = _Held(reply, head, held_bytes)
    try:
        async with asyncio.timeout(min(limits.idle, limits.total)) as timeout:
            if not held_bytes:
                await reply.start(head)
            async for chunk in response:
                await held.take(passing.feed(chunk))
                timeout.reschedule(min(loop.time() + limits.idle, end))
    except TimeoutError:
        raise Refused(Reason.UPSTREAM_TIMEOUT) from None
    return Ending(reply, head, held.rest() + passing.finish())


class _Held:
    """What of an answer has not left yet: everything, up to `bound` bytes."""

    def __init__(self, reply: Reply, head: ResponseHead, bound: int) -> None:
        self._reply = reply
        self._head = head
        self._bound = bound
        self._pieces: list[bytes] = []
        self._size = 0

    async def take(self, piece: bytes) -> None:
        """Hold `piece` back, or let go of all that is held once it is too much."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._bound:
            if not self._reply.started:
                await self._reply.start(self._head)
            await self._reply.write(self.rest())

    def rest(self) -> bytes:
        """What is held, held no more."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return rest


def content_type(answer_headers: Headers) -> str | None:
    """The one Content-Type, or None; raises `Refused(UPSTREAM_BROKEN)` for several."""
    found = values(answer_headers, b"content-type")
    if len(found) > 1:
        raise Refused(Reason.UPSTREAM_BROKEN, "several content types")
    return found[0].decode("latin-1") if found else None


def is_event_stream(answer_headers: Headers) -> bool:
    """Whether the answer is a stream of server-sent events."""
    return (content_type(answer_headers) or "").partition(";")[0].strip().lower() == EVENT_STREAM
