"""What one server's exchanges have to remember of each other: replay, sessions, tasks.

Everything that is remembered from one exchange for another stands here, in a table with a name: so processes
that share the tables remember together. Pure: no clock, no I/O of its own.
"""

from dataclasses import dataclass
from typing import Final, Protocol, Self

from spiffe_mcp.context import ReplayGuard
from spiffe_mcp.mesh.sessions import Sessions
from spiffe_mcp.mesh.tasks import VALUE_BYTES, Tasks
from spiffe_mcp.tables import KEY_BYTES, LocalTable, Table

REPLAY_CAPACITY: Final = 400_000  # user contexts remembered at a time, for each server; half by one peer
SESSION_CAPACITY: Final = 10_000  # legacy sessions, likewise
TASK_CAPACITY: Final = 50_000  # likewise


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
    tasks: Tasks

    @classmethod
    def of(cls, site: str, server: str, tables: Tables) -> Self:
        """The memory of the server of that name behind the ingress of that name."""
        whose = f"{site} {server}"
        return cls(
            replay=ReplayGuard(tables(f"{whose} replay", REPLAY_CAPACITY, 0)),
            sessions=Sessions(tables(f"{whose} sessions", SESSION_CAPACITY, KEY_BYTES)),
            tasks=Tasks(tables(f"{whose} tasks", TASK_CAPACITY, VALUE_BYTES)),
        )
