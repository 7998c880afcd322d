"""Passing an answer on as it arrives: chunk in, filtered chunk out, no faster than the client reads."""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Reply, Response, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.mesh import headers

EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long an answer may take: until something more comes, and altogether. Seconds."""

    idle: float = 300.0
    total: float = 3600.0


class Filter(Protocol):
    """What stands between an answer and who reads it."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now; raises `Refused`."""

    def finish(self) -> bytes:
        """What may be sent on at the end; raises `Refused`."""


class PassThrough:
    """The filter of an answer that was filtered where it came from."""

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` itself."""
        return chunk

    def finish(self) -> bytes:
        """Nothing more."""
        return b""


class Nothing:
    """The filter of an answer that has nothing to say: whatever body comes is not passed on."""

    def feed(self, _: bytes) -> bytes:
        """Nothing."""
        return b""

    def finish(self) -> bytes:
        """Nothing."""
        return b""


async def pass_on(response: Response, passing: Filter, reply: Reply, limits: StreamLimits) -> None:
    """Send the answer to the client; raises `Refused(UPSTREAM_TIMEOUT)` or what the filter raises.

    A stream of events is begun at once and every event leaves as it comes; other answers that are whole
    when they arrive leave in one piece.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.total
    head = ResponseHead(response.head.status, headers.passed_response(response.head.headers))
    try:
        async with asyncio.timeout(min(limits.idle, limits.total)) as timeout:
            if is_event_stream(response.head.headers):
                await reply.start(head)
            async for chunk in response:
                await _write(reply, head, passing.feed(chunk))
                timeout.reschedule(min(loop.time() + limits.idle, end))
    except TimeoutError:
        raise Refused(Reason.UPSTREAM_TIMEOUT) from None
    if reply.started:
        await reply.write(passing.finish())
        reply.finish()
    else:
        await reply.send(head, passing.finish())


async def _write(reply: Reply, head: ResponseHead, chunk: bytes) -> None:
    if chunk:
        if not reply.started:
            await reply.start(head)
        await reply.write(chunk)


def content_type(answer_headers: Headers) -> str | None:
    """The one Content-Type, or None; raises `Refused(UPSTREAM_BROKEN)` for several."""
    found = values(answer_headers, b"content-type")
    if len(found) > 1:
        raise Refused(Reason.UPSTREAM_BROKEN, "several content types")
    return found[0].decode("latin-1") if found else None


def is_event_stream(answer_headers: Headers) -> bool:
    """Whether the answer is a stream of server-sent events."""
    return (content_type(answer_headers) or "").partition(";")[0].strip().lower() == EVENT_STREAM
