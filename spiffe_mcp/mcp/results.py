"""What a result of 2026-07-28 may be: complete, a question back, and what that may ask, or a task.

"Servers MUST NOT send `InputRequiredResult` responses on any other client requests" than three, nor ask what
the client has not declared (basic/patterns/mrtr). A type that is not known here is refused: a client that
knew it would act on something nobody has read. What a client sends in its next round is a call of its own,
and authorised anew; `requestState` is the server's, and passes as it is.

Legacy results have no type, and none is looked for. Pure.
"""

from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call
from spiffe_mcp.mcp.capabilities import Capability, declared
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.methods import Kind
from spiffe_mcp.mcp.server_requests import needed
from spiffe_mcp.mcp.tasks import TASK
from spiffe_mcp.strict_json import JsonObject, JsonValue

COMPLETE: Final = "complete"
INPUT_REQUIRED: Final = "input_required"
MAX_INPUT_REQUESTS: Final = 32

MAY_ASK: Final = frozenset({"prompts/get", "resources/read", "tools/call"})
_RESULT: Final = ExactKeys(frozenset({"inputRequests", "requestState", "resultType"}))
_REQUEST: Final = ExactKeys(frozenset({"method", "params"}))


def check_result(call: Call, result: JsonObject) -> None:
    """Return if `result` may be the answer to `call`.

    Raises `Refused`: `MCP_RESULT_TYPE`, `MCP_INPUT_REQUESTS`, `MCP_SERVER_REQUEST_REFUSED`,
    `MCP_CAPABILITY_UNDECLARED`, `MCP_ANSWER_MALFORMED`.
    """
    if call.era is Era.LEGACY:
        return
    _RESULT.check_answered(result)
    # Absent is complete: what servers of earlier revisions send (2026-07-28 basic/index "Responses").
    kind = result.get("resultType", COMPLETE)
    if kind == COMPLETE:
        # What a running task asks stands in a complete answer to `tasks/get`; elsewhere it means nothing.
        if call.action == "tasks/get" and "inputRequests" in result:
            _check_questions(result, declared(call.capabilities))
        return
    if kind == TASK and call.kind is Kind.TOOL:
        # "A server MUST NOT return CreateTaskResult to a client that did not include the extension
        # capability on its request" (tasks, "Capability Negotiation").
        if Capability.TASKS not in declared(call.capabilities):
            raise Refused(Reason.MCP_CAPABILITY_UNDECLARED, "a task")
        return
    if kind != INPUT_REQUIRED or call.action not in MAY_ASK:
        raise Refused(Reason.MCP_RESULT_TYPE, ascii(kind)[:80])
    _check_questions(result, declared(call.capabilities))


def _check_questions(result: JsonObject, has: Capability) -> None:
    asked = result.get("inputRequests")
    if asked is None and isinstance(result.get("requestState"), str):
        return  # the state alone: the client may come again at once
    if not isinstance(asked, dict) or len(asked) > MAX_INPUT_REQUESTS:
        raise Refused(Reason.MCP_INPUT_REQUESTS, f"no object of at most {MAX_INPUT_REQUESTS} requests")
    for question in asked.values():
        method, params = _read(question)
        if needed(method, params) & ~has:
            raise Refused(Reason.MCP_CAPABILITY_UNDECLARED, method)


def _read(question: JsonValue) -> tuple[str, JsonObject]:
    if not isinstance(question, dict):
        raise Refused(Reason.MCP_INPUT_REQUESTS, "a request that is no object")
    _REQUEST.check_answered(question)
    method, params = question.get("method"), question.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise Refused(Reason.MCP_INPUT_REQUESTS, "a request without method, or params that are no object")
    return method, params
