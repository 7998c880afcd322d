"""Tasks: who made which, by which tool, so that a task's ID alone opens nothing.

"Receivers MUST reject `tasks/get`, `tasks/result`, and `tasks/cancel` requests for tasks that do not belong
to the same authorization context as the requestor" (2025-11-25 basic/utilities/tasks "Task Isolation and
Access Control"; the extension's "Auth binding" says the same). A server behind the mesh does not know its
requestors; here each ID is bound to the SPIFFE IDs and the user of the call that made the task, in the legacy
era to its session too, and to the tool. For anybody else the task does not exist, and the answer is the one
for an ID that never existed.

Pure in its answers: no clock, no I/O of its own. The table may be one that several processes share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mcp.judge import WITHHELD, Unasked
from spiffe_mcp.mcp.tasks import CreatedTask, mentioned_in
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import KEY_BYTES, Added, Table, digest

_LASTING_BYTES: Final = 4
VALUE_BYTES: Final = 2 * KEY_BYTES + _LASTING_BYTES  # owner, tool, seconds


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose task it is. `session`: of the legacy era, if the server has any."""

    owner: Owner
    session: bytes | None


class Tasks:
    """The tasks of one upstream. Full of live ones, it refuses more rather than forget one.

    No peer may hold more than are still free: one alone fills half of the table, and never all of it. A task
    is remembered for its own lifetime after it was last asked about.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def created(self, task: CreatedTask, maker: Maker, tool: str, now: datetime) -> None:
        """The upstream made `task` for a call of `tool`; raises `Refused`: TASK_UNUSABLE, TASKS_FULL.

        "Task IDs MUST be unique among all tasks controlled by the receiver": an upstream that gives one out
        twice is broken, and neither of the two callers may be given what is the other's.
        """
        key, holder, second = _key(task.id, maker), digest(str(maker.owner.peer)), int(now.timestamp())
        value = maker.owner.mark + digest(tool) + task.seconds.to_bytes(_LASTING_BYTES, "big")
        match self._table.add(key, value, holder, second + task.seconds, second):
            case Added.ADDED:
                return
            case Added.PRESENT:
                if not self._remembered(key, value[: 2 * KEY_BYTES], second):
                    raise Refused(Reason.TASK_UNUSABLE)
            case _:  # fail closed: full, or made by a clock that was set back by more than a task lasts
                held, free = self._table.held_by(holder), self._table.free
                raise Refused(Reason.TASKS_FULL, f"{held} live tasks, room for {free}")

    def tool_of(self, task_id: str, maker: Maker, now: datetime) -> bytes:
        """The `digest` of the name of the tool that made the task; raises `Refused(MCP_TASK_UNKNOWN)`."""
        key, second = _key(task_id, maker), int(now.timestamp())
        value = self._remembered(key, maker.owner.mark, second)
        if value is None:
            raise Refused(Reason.MCP_TASK_UNKNOWN)
        return value[KEY_BYTES : 2 * KEY_BYTES]

    def has(self, task_id: str, maker: Maker, now: datetime) -> bool:
        """Whether the task is `maker`'s. Being told of a task does not let it last."""
        value = self._table.get(_key(task_id, maker), int(now.timestamp()))
        return value is not None and value.startswith(maker.owner.mark)

    def _remembered(self, key: bytes, beginning: bytes, second: int) -> bytes | None:
        """The value under `key` if it begins so; then the task was asked about now."""
        value = self._table.get(key, second)
        if value is None or not value.startswith(beginning):
            return None
        lasting = int.from_bytes(value[2 * KEY_BYTES :], "big")
        return value if self._table.touch(key, second + lasting, second) else None


@dataclass(frozen=True, slots=True)
class OwnTasks:
    """The tasks of one caller, as its answers go by."""

    _tasks: Tasks
    _maker: Maker
    _clock: Callable[[], datetime]

    def created(self, task: CreatedTask, tool: str) -> None:
        """As `Tasks.created`."""
        self._tasks.created(task, self._maker, tool, self._clock())

    def has(self, task_id: str) -> bool:
        """As `Tasks.has`."""
        return self._tasks.has(task_id, self._maker, self._clock())


class OfOwnTasks:
    """Of what a server says unasked, a caller hears only what is about its own tasks, or about none.

    What is to be heard else is for `unasked` to say.
    """

    __slots__ = ("_own", "_unasked")

    def __init__(self, unasked: Unasked, own: OwnTasks) -> None:
        self._unasked = unasked
        self._own = own

    def notification(self, notification: Notification) -> bytes:
        """Nothing of one about another's task, nor of one of which nobody can say whose (fail closed)."""
        return self._unasked.notification(notification) if self._is_own(notification) else WITHHELD

    def request(self, request: Request) -> bytes:
        """Raises `Refused(MCP_TASK_FOREIGN)`: a server that waits for another's answer has to be told."""
        if not self._is_own(request):
            raise Refused(Reason.MCP_TASK_FOREIGN)
        return self._unasked.request(request)

    def _is_own(self, message: Request | Notification) -> bool:
        try:
            return all(map(self._own.has, mentioned_in(message)))
        except Refused:
            return False


def _key(task_id: str, maker: Maker) -> bytes:
    return digest(maker.session or b"", task_id)
