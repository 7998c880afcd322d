"""A result of 2026-07-28 is complete, or asks what its client said that it may be asked."""

import json
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call, read_call
from spiffe_mcp.mcp.headers import NAME_KEYS
from spiffe_mcp.mcp.message import parse
from spiffe_mcp.mcp.results import MAX_INPUT_REQUESTS, check_result

SAMPLING: dict[str, Any] = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
FORM: dict[str, Any] = {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}}
URL: dict[str, Any] = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://a.test"}}
ROOTS: dict[str, Any] = {"method": "roots/list"}


def call(method: str = "tools/call", capabilities: dict[str, Any] | None = None) -> Call:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
    }
    params = {"name": "x", "uri": "x:", "taskId": "t", "_meta": meta}
    headers = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", method.encode())]
    if method in NAME_KEYS:
        headers.append((b"mcp-name", str(params[NAME_KEYS[method]]).encode()))
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    return read_call(parse(body), headers)


def legacy(method: str = "tools/call") -> Call:
    said = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "x"}}
    return read_call(parse(json.dumps(said).encode()), [(b"mcp-protocol-version", b"2025-11-25")])


def asking(*questions: Any) -> dict[str, Any]:
    named = {f"q{number}": question for number, question in enumerate(questions)}
    return {"resultType": "input_required", "inputRequests": named}


def reason(result: dict[str, Any], of: Call) -> Reason:
    with pytest.raises(Refused) as caught:
        check_result(of, result)
    return caught.value.reason


@pytest.mark.parametrize("result", [{"content": []}, {"resultType": "complete", "content": []}])
def test_a_complete_result_answers_any_call(result: dict[str, Any]) -> None:
    check_result(call(), result)
    check_result(call("tools/list"), result)


@pytest.mark.parametrize("kind", ["tasks", "Complete", "partial", "", None, 1, ["complete"]])
def test_a_type_that_nobody_knows_is_refused(kind: Any) -> None:
    assert reason({"resultType": kind, "content": []}, call()) is Reason.MCP_RESULT_TYPE


TAKES_TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


def test_a_task_answers_a_tool_call_of_a_client_that_takes_tasks_and_nothing_else() -> None:
    task: dict[str, Any] = {"resultType": "task", "taskId": "t"}
    check_result(call(capabilities=TAKES_TASKS), task)
    assert reason(task, call()) is Reason.MCP_CAPABILITY_UNDECLARED
    for method in ("prompts/get", "resources/read", "tasks/get", "tools/list"):
        assert reason(task, call(method, TAKES_TASKS)) is Reason.MCP_RESULT_TYPE


def test_a_running_task_asks_in_a_complete_answer() -> None:
    asks: dict[str, Any] = {"resultType": "complete", "taskId": "t", "inputRequests": {"q": ROOTS}}
    check_result(call("tasks/get", {**TAKES_TASKS, "roots": {}}), asks)
    assert reason(asks, call("tasks/get", TAKES_TASKS)) is Reason.MCP_CAPABILITY_UNDECLARED


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_these_may_ask_back(method: str) -> None:
    check_result(call(method, {"roots": {}}), asking(ROOTS))


@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "server/discover", "resources/list"])
def test_no_other_may_ask_back(method: str) -> None:
    assert reason(asking(ROOTS), call(method, {"roots": {}})) is Reason.MCP_RESULT_TYPE


@pytest.mark.parametrize(
    ("question", "capabilities"),
    [
        (SAMPLING, {"sampling": {}}),
        ({**SAMPLING, "params": {"tools": []}}, {"sampling": {"tools": {}}}),
        (FORM, {"elicitation": {}}),
        (URL, {"elicitation": {"url": {}}}),
        (ROOTS, {"roots": {}}),
    ],
)
def test_what_the_client_declared_may_be_asked(question: Any, capabilities: dict[str, Any]) -> None:
    check_result(call(capabilities=capabilities), asking(question))


@pytest.mark.parametrize(
    ("question", "capabilities"),
    [
        (SAMPLING, {}),
        (SAMPLING, {"elicitation": {}, "roots": {}}),
        ({**SAMPLING, "params": {"tools": []}}, {"sampling": {}}),
        ({**SAMPLING, "params": {"toolChoice": {}}}, {"sampling": {}}),
        (FORM, {"elicitation": {"url": {}}}),
        (URL, {"elicitation": {}}),
        (ROOTS, {"sampling": {}}),
    ],
)
def test_nothing_else_may_be_asked(question: Any, capabilities: dict[str, Any]) -> None:
    assert reason(asking(question), call(capabilities=capabilities)) is Reason.MCP_CAPABILITY_UNDECLARED


def test_one_question_too_many_spoils_them_all() -> None:
    of = call(capabilities={"roots": {}})
    assert reason(asking(ROOTS, SAMPLING), of) is Reason.MCP_CAPABILITY_UNDECLARED


ANYTHING: dict[str, Any] = {"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}}


@pytest.mark.parametrize(
    "question",
    [{"method": "ping"}, {"method": "tools/call"}, {**URL, "params": {"mode": "voice"}}],
)
def test_a_question_that_nobody_knows_is_refused(question: Any) -> None:
    assert reason(asking(question), call(capabilities=ANYTHING)) is Reason.MCP_SERVER_REQUEST_REFUSED


@pytest.mark.parametrize(
    "result",
    [
        {"resultType": "input_required"},
        {"resultType": "input_required", "requestState": 1},
        {"resultType": "input_required", "inputRequests": []},
        {"resultType": "input_required", "inputRequests": None},
        asking("roots/list"),
        asking({"params": {}}),
        asking({"method": "roots/list", "params": []}),
        asking(*[ROOTS] * (MAX_INPUT_REQUESTS + 1)),
    ],
)
def test_questions_that_cannot_be_read_are_refused(result: dict[str, Any]) -> None:
    assert reason(result, call(capabilities=ANYTHING)) is Reason.MCP_INPUT_REQUESTS


def test_the_state_alone_may_come() -> None:
    check_result(call(), {"resultType": "input_required", "requestState": "opaque"})


@pytest.mark.parametrize(
    "result",
    [
        {"ResultType": "input_required", "content": []},
        {**asking(), "InputRequests": {"q": SAMPLING}},
        asking({**ROOTS, "Method": "sampling/createMessage"}),
        asking({**FORM, "params": {"Mode": "url"}}),
    ],
)
def test_what_another_parser_would_read_otherwise_is_refused(result: dict[str, Any]) -> None:
    assert reason(result, call(capabilities=ANYTHING)) is Reason.MCP_ANSWER_MALFORMED


def test_legacy_results_have_no_type() -> None:
    check_result(legacy(), {"resultType": "anything", "content": []})
