"""What of an answer goes on, message by message: who judges, and what holds for the answer to one call.

    CallJudge        the answer to a call: the one response that it owes, and what may be said beside it
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

    `rewrite` makes the bytes that go on in place of the response; None lets it pass as it came. `failed` says
    whether the answer was an error (a JSON-RPC one, or a tool's `isError`).
    """

    __slots__ = ("_call", "_rewrite", "_unasked", "answered", "failed")

    def __init__(self, call: Call, rewrite: Rewrite | None = None, unasked: Unasked | None = None) -> None:
        self._call = call
        self._rewrite = rewrite
        self._unasked = unasked or OfAnEra(call.era)
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

    def ended(self) -> None:
        """A stream may end before its answer only for a client that can ask for the rest with GET."""
        if self._call.id is not None and not self.answered:
            raise Refused(Reason.MCP_ANSWER_MISSING)


def same_id(one: MessageId, other: MessageId) -> bool:
    """Whether two IDs are one: "1" and 1 are not."""
    return type(one) is type(other) and one == other
