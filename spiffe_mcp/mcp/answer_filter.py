"""What an upstream answers, as it arrives: chunks in, the bytes that may go to the caller out.

Every message is parsed strictly before a byte of it passes, so that nothing reaches a client that was not
understood here. What of it passes is for a `Judge` to say, message by message. Refused, which cuts the answer
(fail closed), is what is not strict JSON, not one JSON-RPC message, or too large; and, in the JSON form,
anything but a response. An answer keeps its form: JSON stays JSON, a stream stays a stream.

This module knows the forms of an HTTP answer (streamable-http "Sending Messages"), and neither what a message
means nor who called.
"""

from abc import ABC, abstractmethod
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.judge import Judge
from spiffe_mcp.mcp.message import Notification, Request, Response, parse
from spiffe_mcp.mcp.sse import Event, SseDecoder, encode, without_data
from spiffe_mcp.strict_json import MAX_BYTES

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


class AnswerFilter(ABC):
    """The filter of one answer. `feed` it the body as it comes, and `finish` it when the body ends well."""

    __slots__ = ("_judge",)

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @staticmethod
    def of(content_type: str | None, judge: Judge, *, max_bytes: int = MAX_BYTES) -> "AnswerFilter":
        """The filter for an answer whose `Content-Type` header is given (None: it has none).

        `max_bytes` bounds a JSON body, and each event of a stream. Raises `Refused(MCP_ANSWER_TYPE)`.
        """
        if content_type is None:
            return NothingFilter(judge)
        if media_type(content_type) == EVENT_STREAM:
            return _StreamFilter(judge, max_bytes)
        return _JsonFilter(judge, max_bytes)

    @property
    def answered(self) -> bool:
        """Whether the caller has, or may have, its answer: then it must not get another."""
        return self._judge.answered

    @abstractmethod
    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now; raises `Refused` with a status of 502."""

    @abstractmethod
    def finish(self) -> bytes:
        """What may be sent on at the end of the body; raises `Refused` if an answer is owed and is none."""


class NothingFilter(AnswerFilter):
    """The answer to a notification, or one without a type: it has no body, whatever its type says."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        """Nothing; raises `Refused` for anything."""
        if chunk:
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a body where none is due")
        return b""

    def finish(self) -> bytes:
        """Nothing."""
        self._judge.ended()
        return b""


class _JsonFilter(AnswerFilter):
    """One JSON body, which is one response: held until it is whole, then passed or refused as a whole."""

    __slots__ = ("_body", "_max")

    def __init__(self, judge: Judge, max_bytes: int) -> None:
        super().__init__(judge)
        self._body = bytearray()
        self._max = max_bytes

    def feed(self, chunk: bytes) -> bytes:
        self._body += chunk
        if len(self._body) > self._max:
            raise Refused(Reason.MCP_ANSWER_TOO_LARGE, f"at most {self._max} bytes")
        return b""

    def finish(self) -> bytes:
        message = _parse(bytes(self._body), self._max)
        # A server that waits for an answer of the client's would wait for ever: the caller is told.
        if isinstance(message, Request):
            raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, ascii(message.method))
        if isinstance(message, Notification):
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a notification in place of the answer")
        return self._judge.response(message)


class _StreamFilter(AnswerFilter):
    """A stream of events, each passed, withheld or refused when it is whole."""

    __slots__ = ("_decoder", "_max")

    def __init__(self, judge: Judge, max_bytes: int) -> None:
        super().__init__(judge)
        self._decoder = SseDecoder(max_bytes)
        self._max = max_bytes

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([self._pass_event(event) for event in self._decoder.feed(chunk)])

    def finish(self) -> bytes:
        """Nothing: an event that the end cut off is discarded (WHATWG HTML 9.2.6), never completed."""
        self._judge.ended()
        return b""

    def _pass_event(self, event: Event) -> bytes:
        # Before the event leaves: a client that has its ID may come for what follows at once.
        if event.id:
            self._judge.identified(event.id)
        # An event without data is never dispatched: keep-alives, and the event that only sets an ID.
        if not event.data:
            return event.raw
        passed = self._judged(_parse(event.data, self._max))
        if passed is event.data:
            return event.raw
        # What is withheld leaves its ID behind: a client that resumes must not be sent it again and again.
        return encode(passed, event) if passed else without_data(event)

    def _judged(self, message: Request | Notification | Response) -> bytes:
        match message:
            case Response():
                return self._judge.response(message)
            case Notification():
                return self._judge.notification(message)
            case Request():
                return self._judge.request(message)


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


def _parse(data: bytes, max_bytes: int) -> Request | Notification | Response:
    try:
        return parse(data, max_bytes=max_bytes)
    except Refused as refused:
        # The caller did nothing wrong: what it sees is the upstream's fault, what is audited is the rule.
        raise Refused(Reason.MCP_ANSWER_MALFORMED, str(refused)) from refused
