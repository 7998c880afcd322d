"""What a source of identity holds: the newest good state, and what an operator has been told of it.

Enters: messages of one source, in order, still unread, and the troubles of its streams. Leaves:
`IdentityState`s through an `IdentityFeed`, and events. What a message is worth is decided by
`identity.update`, which is pure. Nothing here knows how messages come.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, Update, apply
from spiffe_mcp.identity.wanted import Wanted

JUDGE_AGAIN_SECONDS: Final = 1.0
# While SPIRE replaces what a tainted authority signed, an SVID that is not there yet looks like one that is
# withdrawn: a workload is told of each of its SVIDs as it comes, and of a changed bundle even without any, by
# a refusal or an empty list; whoever asks again gets no answer before all are there, which is within five
# seconds. So these count when they are said twice, or stay unanswered; one that is missing among others comes
# with the next message. For other reasons the keys go at once.
_SECONDS_TO_RETURN: Final = {
    Reason.SVID_NOT_OFFERED: 0.5,
    Reason.SVID_NOT_ISSUED: 8.0,
    Reason.WORKLOAD_API_DENIED: 8.0,
    Reason.BROKER_DENIED: 8.0,
    Reason.DELEGATED_DENIED: 8.0,
}
_OF_TIME: Final = frozenset({Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_NOT_YET_VALID})


@dataclass(frozen=True, slots=True)
class NotIssued:
    """The source knows the workload and has no SVID for it: not now, or not yet."""


Message: TypeAlias = Update | NotIssued | PartRefused


class HeldIdentity:
    """At most one state, with the feed that it is published in.

    `wanted` says which of several SVIDs to take. `clock` gives the time at which a message is judged, aware.
    `on_event` is called for everything that an operator wants to know, once for as long as it lasts, and must
    not block.
    """

    def __init__(
        self,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
    ) -> None:
        self.feed: Final = IdentityFeed()
        self._wanted = wanted
        self._clock = clock
        self._on_event = on_event
        self._trouble: Disconnected | Denied | None = None  # what was reported last, if it still lasts
        self._outage: Disconnected | None = None  # the newest that was reported, until a message comes
        self._refused: frozenset[PartRefused] = frozenset()  # of the newest message
        self._judging: asyncio.TimerHandle | None = None
        self._withdrawing: asyncio.TimerHandle | None = None

    def take(self, message: Message) -> None:
        """Put in force what is good of one message, and report what is not."""
        self._judge_no_more()
        self._end_outage()
        if isinstance(message, Update):
            self._judge(message)
        elif isinstance(message, NotIssued):
            self.deny(Denied(Reason.SVID_NOT_ISSUED, "no SVID for the workload"))
        else:
            self._trouble = None
            self._refuse((message,))

    def _end_outage(self) -> None:
        if self._outage is not None:
            self._on_event(Reconnected(self._outage.code))
            self._outage = None
            self._refused = frozenset()  # what still lasts is said again: nobody could know

    def _judge(self, update: Update) -> None:
        try:
            applied = apply(update, self.feed.current, self._wanted, self._clock())
        except Refused as withdrawn:
            self.deny(Denied(withdrawn.reason, withdrawn.detail))
            return
        if applied.offered:  # and not by a message in which nothing was good
            self._keep()
        self._trouble = None
        self._refuse(applied.refused)
        self._publish(applied.state)
        if any(part.reason in _OF_TIME for part in applied.refused):
            # Nobody sends it again because a clock, here or there, is put right.
            loop = asyncio.get_running_loop()
            self._judging = loop.call_later(JUDGE_AGAIN_SECONDS, self._judge, update)

    def _judge_no_more(self) -> None:
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None

    def _refuse(self, refused: tuple[PartRefused, ...]) -> None:
        """Report what of the newest message is refused, and was not in the one before."""
        for part in refused:
            if part not in self._refused:
                self._on_event(part)
        self._refused = frozenset(refused)

    def _publish(self, state: IdentityState | None) -> None:
        if state is not None and state != self.feed.current:
            self.feed.publish(state)
            self._on_event(Updated(state))

    def deny(self, denied: Denied) -> None:
        """Cease using the identity (Workload API section 5.2.1); if it may be a passing matter, not yet."""
        self._judge_no_more()
        self._refused = frozenset()
        patience = _SECONDS_TO_RETURN.get(denied.reason)
        if patience is None or self._withdrawing is not None:
            self._withdraw()
        elif self.feed.current is not None:
            self._withdrawing = asyncio.get_running_loop().call_later(patience, self._withdraw)
        self.report(denied)

    @property
    def in_doubt(self) -> bool:
        """Whether the identity is going to be withdrawn, unless something good comes."""
        return self._withdrawing is not None

    def let_go(self) -> None:
        """Leave everything as it is: nobody watches any more."""
        self._judge_no_more()
        self._keep()

    def _withdraw(self) -> None:
        """Without an identity from now on. No earlier message brings it back."""
        self._judge_no_more()
        self._keep()
        self._refused = frozenset()
        if self.feed.current is not None:
            self.feed.publish(None)

    def reject(self, rejected: Rejected) -> None:
        """Cease using the identity, and tell that the source is not asked again."""
        self._withdraw()
        self._on_event(rejected)

    def _keep(self) -> None:
        """Whatever was to be withdrawn is not."""
        if self._withdrawing is not None:
            self._withdrawing.cancel()
            self._withdrawing = None

    def report(self, trouble: Disconnected | Denied) -> None:
        """Report what lasts, once."""
        if _kind(trouble) != _kind(self._trouble):
            self._trouble = trouble
            if isinstance(trouble, Disconnected):
                self._outage = trouble
            self._on_event(trouble)


def _kind(trouble: Disconnected | Denied | None) -> object:
    """Two troubles of one kind are the same to an operator."""
    if isinstance(trouble, Disconnected):
        return trouble.code
    return trouble and trouble.reason
