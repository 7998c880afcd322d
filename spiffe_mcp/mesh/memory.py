"""What one server's exchanges have to remember of each other.

Everything that is remembered from one exchange for another stands here, in a table with a name: so processes
that share the tables remember together. Pure: no clock, no I/O of its own.
"""

from dataclasses import dataclass
from typing import Final, Protocol, Self

from spiffe_mcp.context import ReplayGuard
from spiffe_mcp.mesh import replays, sessions, tasks
from spiffe_mcp.mesh.pending import Pending
from spiffe_mcp.mesh.replays import Replays
from spiffe_mcp.mesh.sessions import Sessions
from spiffe_mcp.mesh.subscribed import Subscribed
from spiffe_mcp.mesh.tasks import Tasks
from spiffe_mcp.tables import LocalTable, Table

REPLAY_CAPACITY: Final = 400_000  # user contexts remembered at a time, for each server; half by one peer
SESSION_CAPACITY: Final = 10_000  # legacy sessions, likewise
PENDING_CAPACITY: Final = 10_000  # questions of the server that wait for an answer, likewise
TASK_CAPACITY: Final = 50_000  # likewise
SUBSCRIPTION_CAPACITY: Final = 50_000  # of legacy sessions to resources, likewise
EVENT_CAPACITY: Final = 50_000  # after which a legacy stream can be gone on with, likewise


class Tables(Protocol):
    """Where tables come from."""

    def __call__(self, name: str, capacity: int, value_bytes: int) -> Table:
        """The table of that name, for so many facts with values of at most so many bytes."""


def local_tables(name: str, capacity: int, value_bytes: int) -> Table:  # noqa: ARG001  nobody else asks for it
    """A table of this process."""
    return LocalTable(capacity)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one server."""

    replay: ReplayGuard
    sessions: Sessions
    pending: Pending
    tasks: Tasks
    replays: Replays
    subscribed: Subscribed

    @classmethod
    def of(cls, site: str, server: str, tables: Tables) -> Self:
        """The memory of the server of that name behind the ingress of that name."""
        whose = f"{site} {server}"
        return cls(
            replay=ReplayGuard(tables(f"{whose} replay", REPLAY_CAPACITY, 0)),
            sessions=Sessions(tables(f"{whose} sessions", SESSION_CAPACITY, sessions.VALUE_BYTES)),
            pending=Pending(tables(f"{whose} pending", PENDING_CAPACITY, 0)),
            tasks=Tasks(tables(f"{whose} tasks", TASK_CAPACITY, tasks.VALUE_BYTES)),
            replays=Replays(tables(f"{whose} events", EVENT_CAPACITY, replays.VALUE_BYTES)),
            subscribed=Subscribed(tables(f"{whose} subscribed", SUBSCRIPTION_CAPACITY, 0)),
        )
