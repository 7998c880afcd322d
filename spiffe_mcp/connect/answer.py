"""The messages of one HTTP answer, as they come; and where its stream of events broke off, to go on there."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.http import Headers, Response
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import parse
from spiffe_mcp.mcp.answer_filter import EVENT_STREAM, media_type
from spiffe_mcp.mcp.message import Message
from spiffe_mcp.mcp.sse import Event, SseDecoder
from spiffe_mcp.strict_json import MAX_BYTES

LAST_EVENT_ID: Final = b"last-event-id"
MAX_PAUSE: Final = 30.0  # seconds
_DEFAULT_PAUSE: Final = 1.0
_FIELD: Final = re.compile(rb"^(id|retry)(?::[ ]?([^\r\n]*))?[\r\n]", re.MULTILINE)


@dataclass(slots=True)
class Place:
    """Up to where a stream has been read: its last event's ID, and how long to wait before going on."""

    event_id: bytes | None = None
    pause: float = _DEFAULT_PAUSE  # seconds

    def passed(self, event: Event) -> None:
        """Note the fields `id` and `retry` of an event (WHATWG HTML 9.2.6)."""
        for name, value in _FIELD.findall(event.raw):
            if name == b"id" and b"\0" not in value:
                self.event_id = value or None
            elif name == b"retry" and value.isdigit():
                self.pause = min(int(value[:9]) / 1000, MAX_PAUSE)

    @property
    def headers(self) -> Headers:
        """What a GET that goes on from here says; nothing where the stream cannot be gone on with."""
        return () if self.event_id is None else ((LAST_EVENT_ID, self.event_id),)


async def messages(response: Response, place: Place) -> AsyncIterator[Message]:
    """Every message in `response`; raises `Refused` for what is none, and for what broke the answer."""
    kinds = values(response.head.headers, b"content-type")
    if not kinds:
        return
    if media_type(kinds[0].decode("latin-1")) != EVENT_STREAM:
        yield parse(await response.body(MAX_BYTES))
        return
    decoder = SseDecoder(MAX_BYTES)
    async for chunk in response:
        for event in decoder.feed(chunk):
            place.passed(event)
            if event.data:
                yield parse(event.data)
