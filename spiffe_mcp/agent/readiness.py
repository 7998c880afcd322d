"""Whether this agent can serve now and, if not, why: what `/readyz` says.

Enters: what the listeners themselves go by (the snapshots, the audit log), and the news of the source of
identity, which tells why there is no snapshot. Leaves: refusals, each with the code and the detail that a
call would meet, or more of the cause. No reason means ready.

Fail closed, visibly: nothing here decides whether a call passes. An agent that is not ready refuses by
itself, and this says so to whoever sends it traffic.
"""

from collections.abc import Callable
from datetime import datetime

from spiffe_mcp.audit import AuditSink
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.snapshot import Snapshot


class Readiness:
    """The answer of this moment."""

    def __init__(self, snapshots: Snapshots, log: AuditSink, clock: Callable[[], datetime]) -> None:
        self._snapshots = snapshots
        self._log = log
        self._clock = clock
        self._news: SourceEvent | None = None
        self._is_draining = False
        self._waiting: Refused | None = None

    def heard(self, event: SourceEvent) -> None:
        """The agent's own source of identity has news. The newest is the one that explains."""
        self._news = event

    def drain(self) -> None:
        """The agent was told to stop: send it nothing more."""
        self._is_draining = True

    def reloaded(self, refused: Refused | None) -> None:
        """The configuration was read again. One that was refused waits to be corrected."""
        self._waiting = refused

    def warnings(self) -> tuple[Refused, ...]:
        """What somebody has to look after, though the agent serves: by the configuration before."""
        return () if self._waiting is None else (self._waiting,)

    def reasons(self) -> tuple[Refused, ...]:
        """Everything that keeps this agent from serving; nothing if it is ready."""
        return (*self._stopping(), *self._identity(), *self._audit())

    def _stopping(self) -> tuple[Refused, ...]:
        return (Refused(Reason.DRAINING),) if self._is_draining else ()

    def _identity(self) -> tuple[Refused, ...]:
        now = self._clock()
        try:
            self._snapshots.current(now)  # what a call would begin with: this decides, the rest explains
        except Refused as refused:
            return (_why(self._snapshots.newest, self._news, now, refused),)
        return ()

    def _audit(self) -> tuple[Refused, ...]:
        try:
            self._log.ensure_writable()
        except Refused as refused:
            return (refused,)
        return ()


def _why(held: Snapshot | None, news: SourceEvent | None, now: datetime, otherwise: Refused) -> Refused:
    """Why there is no valid SVID; `otherwise` if nothing is known that says more."""
    trouble = explained(news)
    if held is None:
        return trouble or otherwise
    svid = held.identity.svid
    if now > svid.not_after:
        cause = f"; {trouble}" if trouble else ""
        return Refused(Reason.SVID_EXPIRED, f"{svid.spiffe_id}, at {svid.not_after}{cause}")
    until = f"{svid.spiffe_id}, valid from {svid.not_before}: is the clock right?"
    return Refused(Reason.SVID_NOT_YET_VALID, until)


def explained(news: SourceEvent | None) -> Refused | None:
    """The trouble that a source's news is; None for news that are good, or none."""
    if news is None or isinstance(news, Updated | Reconnected):
        return None
    if isinstance(news, Disconnected):
        return Refused(Reason.SOURCE_UNREACHABLE, f"{news.code}: {news.detail}")
    if isinstance(news, Denied | Rejected):
        return Refused(news.reason, news.detail)
    return Refused(news.reason, f"{news.part}: {news.detail}")
