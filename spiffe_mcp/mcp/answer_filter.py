"""What an upstream answers to one call: chunks in, the bytes that may go to the caller out.

Every message is parsed strictly before a byte of it passes, so that nothing reaches a client that was not
understood here. A response may be rewritten by whoever knows the caller; everything else passes as the exact
bytes that came. Refused, which cuts the stream (fail closed):
  - what is not strict JSON, not one JSON-RPC message, or too large;
  - a response with another ID than the call's: a list of tools that answers no question is how a filter is
    bypassed, and a peer that compares "1" and 1 as equal must not be given the choice;
  - a request of the server's own (sampling, elicitation, roots): not offered;
  - a result of 2026-07-28 of a type that may not come, or that asks what the client did not declare
    (`results`);
  - in the JSON form: anything but the one response.
In a stream, notifications pass that are on the list of their era (`notifications`), and others are left out.
An answer keeps its form: JSON stays JSON, a stream stays a stream.

This module knows the two forms of an HTTP answer (streamable-http "Sending Messages"), not who called.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.message import MessageId, Notification, Request, Response, parse
from spiffe_mcp.mcp.notifications import PASSED
from spiffe_mcp.mcp.results import check_result
from spiffe_mcp.mcp.sse import Event, SseDecoder, encode, without_data
from spiffe_mcp.strict_json import MAX_BYTES

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

# The bytes to send in place of the upstream's response.
Rewrite: TypeAlias = Callable[[Response], bytes]


class AnswerFilter(ABC):
    """The filter of one answer. `feed` it the body as it comes, and `finish` it when the body ends well.

    `answered` says whether the call's own response has been seen, `failed` whether that was an error (a
    JSON-RPC one, or a tool's `isError`).
    """

    __slots__ = ("_call", "_id", "_rewrite", "answered", "failed")

    def __init__(self, call: Call | None, rewrite: Rewrite | None) -> None:
        self._call = call
        self._id = call.id if call is not None else None
        self._rewrite = rewrite
        self.answered = False
        self.failed = False

    @staticmethod
    def for_call(
        call: Call, content_type: str | None, rewrite: Rewrite | None, *, max_bytes: int = MAX_BYTES
    ) -> "AnswerFilter":
        """The filter for the answer to `call`, whose `Content-Type` header is given (None: it has none).

        `rewrite` is None for a response that passes as it came. `max_bytes` bounds a JSON body, and each
        event of a stream. Raises `Refused(MCP_ANSWER_TYPE)`.
        """
        if call.id is None or content_type is None:
            return _NothingFilter(call, rewrite)
        if media_type(content_type) == EVENT_STREAM:
            return _StreamFilter(call, rewrite, max_bytes)
        return _JsonFilter(call, rewrite, max_bytes)

    @staticmethod
    def for_listening(content_type: str, *, max_bytes: int = MAX_BYTES) -> "AnswerFilter":
        """The filter for a stream that answers no call (a legacy GET): notifications alone pass.

        What `Last-Event-ID` would replay is an answer to some earlier call, so replays are refused.
        """
        if media_type(content_type) != EVENT_STREAM:
            raise Refused(Reason.MCP_ANSWER_TYPE, "not an event stream")
        return _StreamFilter(None, None, max_bytes)

    @abstractmethod
    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now; raises `Refused` with a status of 502."""

    @abstractmethod
    def finish(self) -> bytes:
        """What may be sent on at the end of the body; raises `Refused` if an answer is owed and is none."""

    def _pass(self, data: bytes, max_bytes: int) -> bytes | None:
        """The bytes to send in place of the message `data`, none if it is left out; None: as it came."""
        message = _parse(data, max_bytes)
        if isinstance(message, Request):
            raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, ascii(message.method))
        if isinstance(message, Notification):
            return self._pass_notification(message)
        return self._pass_response(message)

    def _pass_notification(self, message: Notification) -> bytes | None:
        era = self._call.era if self._call is not None else Era.LEGACY
        return None if message.method in PASSED[era] else b""

    def _pass_response(self, response: Response) -> bytes | None:
        if self._id is None or self._call is None:
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a response to no call")
        # An error without an ID is about this call, which the upstream could not read; it holds no result.
        if response.id is not None and not _same_id(response.id, self._id):
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a response to another call")
        if response.result is not None:
            check_result(self._call, response.result)
        self.answered = True
        self.failed = response.result is None or response.result.get("isError") is True
        return self._rewrite(response) if self._rewrite is not None else None


class _JsonFilter(AnswerFilter):
    """One JSON body: held until it is whole, then passed or refused as a whole."""

    __slots__ = ("_body", "_max")

    def __init__(self, call: Call, rewrite: Rewrite | None, max_bytes: int) -> None:
        super().__init__(call, rewrite)
        self._body = bytearray()
        self._max = max_bytes

    def feed(self, chunk: bytes) -> bytes:
        self._body += chunk
        if len(self._body) > self._max:
            raise Refused(Reason.MCP_ANSWER_TOO_LARGE, f"at most {self._max} bytes")
        return b""

    def finish(self) -> bytes:
        body = bytes(self._body)
        replaced = self._pass(body, self._max)
        return body if replaced is None else replaced

    def _pass_notification(self, _message: Notification) -> bytes | None:
        raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a notification in place of the answer")


class _StreamFilter(AnswerFilter):
    """A stream of events, each passed or refused when it is whole."""

    __slots__ = ("_decoder", "_max")

    def __init__(self, call: Call | None, rewrite: Rewrite | None, max_bytes: int) -> None:
        super().__init__(call, rewrite)
        self._decoder = SseDecoder(max_bytes)
        self._max = max_bytes

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([self._pass_event(event) for event in self._decoder.feed(chunk)])

    def finish(self) -> bytes:
        """Nothing: an event that the end cut off is discarded (WHATWG HTML 9.2.6), never completed.

        A stream may end before its answer only for a client that can ask for the rest with GET, and here it
        cannot: such an end is a cut, and no completed call.
        """
        if self._id is not None and not self.answered:
            raise Refused(Reason.MCP_ANSWER_MISSING)
        return b""

    def _pass_event(self, event: Event) -> bytes:
        # An event without data is never dispatched: keep-alives, and the event that only sets an ID.
        if not event.data:
            return event.raw
        replaced = self._pass(event.data, self._max)
        if replaced is None:
            return event.raw
        return encode(replaced, event) if replaced else without_data(event)


class _NothingFilter(AnswerFilter):
    """The answer to a notification, or one without a type: it has no body, whatever its type says."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        if chunk:
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a body where none is due")
        return b""

    def finish(self) -> bytes:
        if self._id is not None:
            raise Refused(Reason.MCP_ANSWER_MISSING)
        return b""


def media_type(content_type: str) -> str:
    """`application/json` or `text/event-stream`; raises `Refused(MCP_ANSWER_TYPE)` for all else.

    Both are UTF-8; a parameter that says otherwise would make the client read other characters than we did.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in {JSON, EVENT_STREAM} or any(
        parameter.startswith("charset") and parameter not in {"charset=utf-8", 'charset="utf-8"'}
        for parameter in parameters
    ):
        raise Refused(Reason.MCP_ANSWER_TYPE, ascii(content_type[:80]))
    return kind


def _same_id(one: MessageId, other: MessageId) -> bool:
    return type(one) is type(other) and one == other


def _parse(data: bytes, max_bytes: int) -> Request | Notification | Response:
    try:
        return parse(data, max_bytes=max_bytes)
    except Refused as refused:
        # The caller did nothing wrong: what it sees is the upstream's fault, what is audited is the rule.
        raise Refused(Reason.MCP_ANSWER_MALFORMED, str(refused)) from refused
