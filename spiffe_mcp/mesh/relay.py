"""Passing an answer on as it arrives: chunk in, filtered chunk out, no faster than the client reads."""

from dataclasses import dataclass
from typing import Final, Protocol

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Reply, Response, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp.answer_filter import EVENT_STREAM
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.patience import Patience

HELD_BYTES: Final = 256 * 1024  # of an answer that is no stream of events, until it is known to be whole


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


async def pass_on(response: Response, passing: Filter, reply: Reply, patience: Patience) -> Ending:
    """Send the answer to the client, but for its `Ending`.

    A stream of events is begun at once and every event leaves as it comes; other answers are held back until
    they are whole, up to `HELD_BYTES`. Raises `Refused`: what `patience` was interrupted for, what broke the
    response, or what the filter raises; as `Unanswered` if a stream has begun and has no answer in it yet.
    """
    events = is_event_stream(response.head.headers)
    try:
        with patience.interruption.possible():
            return await _passed(response, passing, reply, patience, HELD_BYTES if not events else 0)
    except Refused as refused:
        if events and reply.started and not passing.answered:
            raise Unanswered(refused.reason, refused.detail) from refused
        raise


async def _passed(
    response: Response, passing: Filter, reply: Reply, patience: Patience, held_bytes: int
) -> Ending:
    head = ResponseHead(response.head.status, headers.passed_response(response.head.headers))
    held = _Held(reply, head, held_bytes)
    patience.heard()
    if not held_bytes:
        await reply.start(head)
    async for chunk in response:
        await held.take(passing.feed(chunk))
        patience.heard()
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
