"""Exactly one record for each exchange, whatever ends it.

    with recorded(log, Draft(time=now, exchange=id, side=Side.INGRESS)) as draft:
        draft.caller = ...                        # as soon as it is known
        draft.ruling = Ruling(Verdict.ALLOW, ...)
        ...                                       # the call
        draft.complete()

Two moments matter. On entry the log has to be writable, or there is no exchange: a call that could not be
recorded is not made. On exit, and only there, the draft is written, once: nothing else can write it.

 - left after `complete()`, or after `refuse()`: as it says;
 - left by a `Refused`: refused, with its code;
 - left by an exception: an error, of which the record has the type, since its text may hold anything;
 - cancelled (an exception that is no `Exception`), because the caller left: complete if it had been by then,
   or what `abandoned` says;
 - left with nothing said: an error, never a success by default.

If the record cannot be written on exit, the exchange is refused, though the call was made: whoever sends the
answer sends its last piece after the exit, so that it does not go on; the log counts the gap. A cancellation
stays one.

No I/O of its own, no await.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol

from spiffe_mcp.audit.record import (
    NOBODY,
    NOTHING,
    UNDECIDED,
    AuditRecord,
    Caller,
    Kind,
    Outcome,
    Parameters,
    Ruling,
    Side,
    Target,
    Verdict,
)
from spiffe_mcp.errors import Refused


class AuditSink(Protocol):
    """Where records go."""

    def ensure_writable(self) -> None:
        """Return if a record could be written now; raises `Refused(AUDIT_UNAVAILABLE)`."""

    def append(self, record: AuditRecord) -> None:
        """Write one record; raises `Refused(AUDIT_UNAVAILABLE)`."""


@dataclass(slots=True)
class Draft:
    """A record in the making. What stays unsaid is recorded as unsaid."""

    time: datetime
    exchange: str
    side: Side
    kind: Kind = Kind.EXCHANGE
    txn: str = ""
    caller: Caller = NOBODY
    target: Target = NOTHING
    parameters: Parameters | None = None
    ruling: Ruling = UNDECIDED
    withheld: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)
    durations_ms: dict[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    abandoned: Outcome = Outcome.CANCELLED  # what it is if its caller leaves
    error: str = ""

    def complete(self) -> None:
        """The exchange went through to its end."""
        self.outcome = Outcome.COMPLETED

    def refuse(self, refused: Refused) -> None:
        """The exchange was refused, at whichever step; what policy said before stays in the record."""
        self.ruling = self.ruling._replace(verdict=Verdict.REFUSE, reason=refused.reason.code)
        self.outcome, self.error = Outcome.REFUSED, refused.detail

    def record(self) -> AuditRecord:
        """The record, as things stand."""
        return AuditRecord(
            time=self.time,
            exchange=self.exchange,
            side=self.side,
            outcome=self.outcome or Outcome.ERROR,
            kind=self.kind,
            txn=self.txn,
            caller=self.caller,
            target=self.target,
            parameters=self.parameters,
            ruling=self.ruling,
            error=self.error if self.outcome else self.error or "ended without an outcome",
            withheld=self.withheld,
            passed_over=self.passed_over,
            durations_ms=self.durations_ms,
        )


class recorded:  # noqa: N801  read where it is used: `with recorded(log, draft)`
    """Run one exchange and write its one record; raises `Refused(AUDIT_UNAVAILABLE)` on entry or on exit."""

    __slots__ = ("_draft", "_log")

    def __init__(self, log: AuditSink, draft: Draft) -> None:
        self._log = log
        self._draft = draft

    def __enter__(self) -> Draft:
        self._log.ensure_writable()
        return self._draft

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        draft = self._draft
        if error is None:
            self._log.append(draft.record())
        elif isinstance(error, Refused):
            draft.refuse(error)
            self._log.append(draft.record())
        elif isinstance(error, Exception):
            draft.outcome, draft.error = Outcome.ERROR, type(error).__name__
            self._log.append(draft.record())
        else:
            draft.outcome = draft.outcome or draft.abandoned
            # A cancellation that turned into a refusal would be swallowed by whoever handles refusals.
            with suppress(Refused):
                self._log.append(draft.record())
