"""One agent that runs, as a reload sees it: how it goes on by another configuration, and whom that is told.

A change that could not be recorded does not take effect: the log has to be writable before. If the record
itself fails all the same, the log counts the gap, and no call is made until it could say so.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.reload import Outcome
from spiffe_mcp.agent.sides import Sides
from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditLog, ReloadRecord
from spiffe_mcp.errors import Refused


class Running:
    """Implements `reload.Running`."""

    def __init__(
        self, sides: Sides, telemetry: Telemetry, log: AuditLog, clock: Callable[[], datetime]
    ) -> None:
        self._sides = sides
        self._telemetry = telemetry
        self._log = log
        self._clock = clock

    def prepared(self, anew: AgentConfig) -> Callable[[], None]:
        """See `reload.Running`."""
        put_in_force = self._sides.prepared(anew)
        self._log.ensure_writable()
        return put_in_force

    def reloaded(self, outcome: Outcome) -> None:
        """See `reload.Running`."""
        self._telemetry.reloaded(outcome.refused)
        with suppress(Refused):  # told by the log itself, which lets no call begin before it has said so
            self._log.append(ReloadRecord(self._clock(), outcome.changed, outcome.refused))
