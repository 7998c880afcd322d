"""What of an MCP server's answer a caller may see.

Enters: the permit of the call, and the head of the answer. Leaves: the filter that its body goes through. A
list of tools shows the signed copies of those tools that are still what was signed and that policy shows to
this caller; what a client might keep is its own, and for a minute at most (`mcp.caching`); of tasks it sees
its own (`mesh.tasks`). Everything else passes as it came, if it is the answer to this call and nothing else
(`mcp.AnswerFilter`).
"""

from collections.abc import Mapping
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import ResponseHead
from spiffe_mcp.manifest import compare
from spiffe_mcp.mcp import (
    AnswerFilter,
    Call,
    CallJudge,
    Era,
    Kind,
    Response,
    caching,
    parse_tool_list,
    rewrite_tool_list,
)
from spiffe_mcp.mcp.answer_filter import NothingFilter
from spiffe_mcp.mcp.judge import OfAnEra
from spiffe_mcp.mcp.tasks import created_by, mentioned_in_result, only_own
from spiffe_mcp.mcp.tools import tool_name
from spiffe_mcp.mesh import relay
from spiffe_mcp.mesh.behind import Behind, Observer
from spiffe_mcp.mesh.changes import OfVisible
from spiffe_mcp.mesh.ingress import Permit
from spiffe_mcp.mesh.questions import Questions
from spiffe_mcp.mesh.tasks import OfOwnTasks, OwnTasks
from spiffe_mcp.strict_json import JsonObject

MAX_TTL_MS: Final = 60_000  # how long a client may keep anything


def filter_for(permit: Permit, head: ResponseHead, behind: Behind) -> relay.Filter:
    """The filter of the answer to `permit`; raises `Refused` for a type of content that is no answer."""
    call = permit.authenticated.inbound.call
    if call is None:
        return relay.Nothing()  # the end of a session, or an answer: there is no body worth reading
    own = OwnTasks(behind.memory.tasks, permit.authenticated.maker, behind.clock)

    def passed(answer: Response) -> bytes:
        if answer.result is not None:
            _check_tasks(call, answer.result, own)
        return _passed(answer, call, permit, behind.observe, own)

    said = Questions(permit, behind) if call.era is Era.LEGACY else OfAnEra(call.era)
    judge = CallJudge(call, passed, OfVisible(OfOwnTasks(said, own), permit, behind))
    if call.id is None:
        return NothingFilter(judge)
    return AnswerFilter.of(relay.content_type(head.headers), judge)


def _passed(answer: Response, call: Call, permit: Permit, observe: Observer, own: OwnTasks) -> bytes:
    """What passes of the response to `call`."""
    if call.action == "tools/list":
        return _listed(answer, call, permit, observe)
    if call.action == "tasks/list":
        return only_own(answer, own.has)
    if call.action in caching.CACHED:
        return caching.kept_private(answer, max_ttl_ms=MAX_TTL_MS)
    return answer.raw


def _check_tasks(call: Call, result: JsonObject, own: OwnTasks) -> None:
    """Note the task that was made, and return if `result` is about no task but the caller's own.

    Raises `Refused`: `MCP_TASK_FOREIGN`, `MCP_TASK_MALFORMED`, `TASK_UNUSABLE`, `TASKS_FULL`.
    """
    created = created_by(call, result)
    if created is not None:
        # Before the client has the ID, which it may use at once.
        own.created(created, call.name or "")
    for task_id in mentioned_in_result(call, result):
        if (call.kind is Kind.TASK and task_id != call.name) or not own.has(task_id):
            raise Refused(Reason.MCP_TASK_FOREIGN)


def _listed(answer: Response, call: Call, permit: Permit, observe: Observer) -> bytes:
    manifest = permit.decided.selected.manifest.manifest
    tools = parse_tool_list(answer.result).tools if answer.result is not None else ()
    page = compare(manifest, tools, protocol_version=call.revision.version or "")
    observe(page)
    shown = page.exposed.keys() & permit.decided.visible.keys()
    offered: dict[str, JsonObject] = {name: dict(page.exposed[name].definition) for name in shown}
    return rewrite_tool_list(answer, lambda tool: _signed(offered, tool), max_ttl_ms=MAX_TTL_MS)


def _signed(offered: Mapping[str, JsonObject], tool: JsonObject) -> JsonObject | None:
    return offered.get(tool_name(tool) or "")
