"""What of an answer goes on, message by message: who judges, and what holds for the answer to one call.

    CallJudge        the answer to a call: the one response that it owes, and what may be said beside it
    StreamJudge      a stream that answers no call, or goes on with the answer to an earlier one (legacy GET)
    Unasked          what a server says of its own accord; `OfAnEra` has what holds whoever asked

Each message leaves as its own `raw`, as other bytes, or not at all (`WITHHELD`); what must not be there ends
the answer with `Refused`. Refused are:
  - a response with another ID than the call's: a list of tools that answers no question is how a filter is
    bypassed, and a peer that compares "1" and 1 as equal must not be given the choice;
  - a request of the server's own (sampling, elicitation, roots), unless somebody lets it pass;
  - a result of 2026-07-28 of a type that may not come, or that asks what the client did not declare
    (`results`).

This module knows messages, not in which form they came (`answer_filter`), nor who called. Pure.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.message import MessageId, Notification, Request, Response
from spiffe_mcp.mcp.notifications import PASSED
from spiffe_mcp.mcp.results import check_result

WITHHELD: Final = b""

# The bytes to send in place of the upstream's response.
Rewrite: TypeAlias = Callable[[Response], bytes]
# Takes note of an event's ID; whether the stream can be gone on with after it.
Remember: TypeAlias = Callable[[bytes], bool]


class Unasked(Protocol):
    """Judges what a server says of its own accord, in whatever stream it says it."""

    def notification(self, notification: Notification) -> bytes:
        """What passes of a notification."""

    def request(self, request: Request) -> bytes:
        """What passes of a request; raises `Refused` to end the stream."""


class Judge(Unasked, Protocol):
    """Judges all that one answer holds."""

    @property
    def answered(self) -> bool:
        """Whether the caller has, or may have, its answer: then it must not get another."""

    def response(self, response: Response) -> bytes:
        """What passes of a response; raises `Refused` to end the answer."""

    def identified(self, event_id: bytes) -> None:
        """An event with this ID is about to leave: what follows it may be asked for on another stream."""

    def ended(self) -> None:
        """The body has ended; raises `Refused` if an answer is owed and was none."""


class OfAnEra:
    """What a server may say where nothing is known of the client but its era."""

    __slots__ = ("_era",)

    def __init__(self, era: Era) -> None:
        self._era = era

    def notification(self, notification: Notification) -> bytes:
        """Those on the list of the era pass (`notifications`)."""
        return notification.raw if notification.method in PASSED[self._era] else WITHHELD

    def request(self, request: Request) -> bytes:
        """None passes."""
        raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, ascii(request.method))


class CallJudge:
    """Judges the answer to one call.

    `rewrite` makes the bytes that go on in place of the response; None lets it pass as it came. `remember`
    is None where no stream can be gone on with. `answered` holds from then on when the rest of the answer may
    come on another stream. `failed` says whether the answer was an error (a JSON-RPC one, or a tool's
    `isError`).
    """

    __slots__ = ("_call", "_remember", "_rewrite", "_unasked", "answered", "failed")

    def __init__(
        self,
        call: Call,
        rewrite: Rewrite | None = None,
        unasked: Unasked | None = None,
        remember: Remember | None = None,
    ) -> None:
        self._call = call
        self._rewrite = rewrite
        self._unasked = unasked or OfAnEra(call.era)
        self._remember = remember
        self.answered = False
        self.failed = False

    def response(self, response: Response) -> bytes:
        """The call's own, rewritten or as it came."""
        if self._call.id is None:
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a response to a notification")
        # An error without an ID is about this call, which the upstream could not read; it holds no result.
        if response.id is not None and not same_id(response.id, self._call.id):
            raise Refused(Reason.MCP_ANSWER_UNEXPECTED, "a response to another call")
        if response.result is not None:
            check_result(self._call, response.result)
        self.answered = True
        self.failed = response.result is None or response.result.get("isError") is True
        return self._rewrite(response) if self._rewrite is not None else response.raw

    def notification(self, notification: Notification) -> bytes:
        """See `Unasked`."""
        return self._unasked.notification(notification)

    def request(self, request: Request) -> bytes:
        """See `Unasked`."""
        return self._unasked.request(request)

    def identified(self, event_id: bytes) -> None:
        """From here on the client may come for the rest."""
        if self._remember is not None and self._remember(event_id):
            self.answered = True

    def ended(self) -> None:
        """A stream may end before its answer only for a client that can ask for the rest with GET."""
        if self._call.id is not None and not self.answered:
            raise Refused(Reason.MCP_ANSWER_MISSING)


class StreamJudge:
    """Judges a legacy stream that a client has opened with GET: nobody waits for an answer.

    `is_owed` tells the response of the call whose answer the stream goes on with; every other one is
    withheld, for nobody here knows what it answers (2025-11-25 basic/transports "Resumability and
    Redelivery").
    """

    __slots__ = ("_is_owed", "_remember", "_rewrite", "_unasked")

    answered: Final = True

    def __init__(
        self, is_owed: Callable[[Response], bool], rewrite: Rewrite, unasked: Unasked, remember: Remember
    ) -> None:
        self._is_owed = is_owed
        self._rewrite = rewrite
        self._unasked = unasked
        self._remember = remember

    def response(self, response: Response) -> bytes:
        """The one that is owed, rewritten."""
        return self._rewrite(response) if self._is_owed(response) else WITHHELD

    def notification(self, notification: Notification) -> bytes:
        """See `Unasked`."""
        return self._unasked.notification(notification)

    def request(self, request: Request) -> bytes:
        """See `Unasked`."""
        return self._unasked.request(request)

    def identified(self, event_id: bytes) -> None:
        """One that cannot be remembered passes, and cannot be gone on with."""
        self._remember(event_id)

    def ended(self) -> None:
        """It may end at any time."""


def same_id(one: MessageId, other: MessageId) -> bool:
    """Whether two IDs are one: "1" and 1 are not."""
    return type(one) is type(other) and one == other
