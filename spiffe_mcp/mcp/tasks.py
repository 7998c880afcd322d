"""Tasks in what a server says: which one it made, and which one a message is about.

Two forms. 2025-11-25 basic/utilities/tasks: the call asks for a task, which is a member of the result. The
extension `io.modelcontextprotocol/tasks` of 2026-07-28: a client takes tasks, and the server answers with
one, a result of type `task`, when it likes. In both an ID is all that it takes to get at a task; so an ID
reaches its owner, and nobody else.

Enters: results, and what a server says unasked. Leaves: IDs, and a list with fewer entries. Pure: must not
know who owns what.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call
from spiffe_mcp.mcp.era import META, Era
from spiffe_mcp.mcp.json_splice import spliced
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import Notification, Request, Response
from spiffe_mcp.mcp.methods import MAX_NAME_LENGTH, Kind
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_SECONDS: Final = 24 * 3600  # a task is remembered after it was last asked about, at most

TASK: Final = "task"  # the type of a result, and the member of another
RELATED: Final = "io.modelcontextprotocol/related-task"  # in `_meta`, 2025-11-25

_ID: Final = "taskId"
_TASK: Final = ExactKeys(frozenset({_ID, TASK, "ttl", "ttlMs"}))
_LIST: Final = ExactKeys(frozenset({"nextCursor", "tasks"}))
_TOLD: Final = frozenset({"notifications/tasks", "notifications/tasks/status"})

Own: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class CreatedTask:
    """A task that came in place of a result. `seconds`: for how long it is worth remembering."""

    id: str
    seconds: int


def created_by(call: Call, result: JsonObject) -> CreatedTask | None:
    """The task that `result` says was made by `call`; None if it is the tool's own result.

    Raises `Refused(MCP_TASK_MALFORMED)`: what cannot be remembered cannot be got at either.
    """
    if call.kind is not Kind.TOOL:
        return None
    _TASK.check_answered(result)
    if call.era is Era.MODERN:
        return _created(result, "ttlMs") if result.get("resultType") == TASK else None
    asked = TASK in (call.message.params or {})
    return _created(result[TASK], "ttl") if asked and TASK in result else None


def mentioned_in_result(call: Call, result: JsonObject) -> Iterator[str]:
    """The IDs of the tasks that `result` is about, as far as it says; raises `Refused(MCP_TASK_MALFORMED)`.

    Of a tool's own result only `_meta` counts: what else it holds is the tool's.
    """
    if call.kind is Kind.TASK:
        _TASK.check_answered(result)
        if _ID in result:
            yield _id(result[_ID])
    yield from _related(result)


def mentioned_in(message: Request | Notification) -> Iterator[str]:
    """As `mentioned_in_result`, of what a server says unasked. A status that names no task is malformed."""
    params = message.params or {}
    if message.method in _TOLD:
        yield _id(params.get(_ID))
    yield from _related(params)


def only_own(answer: Response, own: Own) -> bytes:
    """`answer` to `tasks/list` with the tasks that are `own`; order, cursor and all other bytes stay.

    An entry without an ID is nobody's. Raises `Refused(MCP_TASK_MALFORMED)`.
    """
    if answer.result is None:
        return answer.raw
    _LIST.check_answered(answer.result)
    entries = answer.result.get("tasks")
    if not isinstance(entries, list):
        raise Refused(Reason.MCP_TASK_MALFORMED, "tasks is not an array")
    kept = [_is_own(entry, own) for entry in entries]
    return answer.raw if all(kept) else spliced(answer.raw, "result", {"tasks": kept})


def _created(task: JsonValue, ttl: str) -> CreatedTask:
    if not isinstance(task, dict):
        raise Refused(Reason.MCP_TASK_MALFORMED, "a task that is no object")
    _TASK.check_answered(task)
    lifetime = task.get(ttl)
    # Null and absent are unlimited. One that cannot be read is no reason to lose the task.
    readable = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and lifetime >= 0
    seconds = int(lifetime // 1000) + 1 if isinstance(lifetime, int | float) and readable else MAX_SECONDS
    return CreatedTask(_id(task.get(_ID)), min(seconds, MAX_SECONDS))


def _is_own(entry: JsonValue, own: Own) -> bool:
    if not isinstance(entry, dict):
        return False
    _TASK.check_answered(entry)
    task_id = entry.get(_ID)
    return isinstance(task_id, str) and own(task_id)


def _related(said: JsonObject) -> Iterator[str]:
    meta = said.get(META)
    if isinstance(meta, dict) and RELATED in meta:
        related = meta[RELATED]
        if not isinstance(related, dict):
            raise Refused(Reason.MCP_TASK_MALFORMED, RELATED)
        _TASK.check_answered(related)
        yield _id(related.get(_ID))


def _id(value: JsonValue) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH:
        raise Refused(Reason.MCP_TASK_MALFORMED, "no taskId")
    return value
