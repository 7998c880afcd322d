"""Which task a server made, and which one it speaks of: told from both forms, and from nothing else."""

import json
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call, classify
from spiffe_mcp.mcp.era import Era, Revision
from spiffe_mcp.mcp.message import Notification, Request, Response, parse
from spiffe_mcp.mcp.tasks import (
    MAX_SECONDS,
    RELATED,
    CreatedTask,
    created_by,
    mentioned_in,
    mentioned_in_result,
    only_own,
)

LEGACY = Revision(Era.LEGACY, "2025-11-25")
MODERN = Revision(Era.MODERN, "2026-07-28")
RELATED_TO_T: dict[str, Any] = {"_meta": {RELATED: {"taskId": "t"}}}


def called(method: str, params: dict[str, Any], revision: Revision = LEGACY) -> Call:
    message = parse(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    assert isinstance(message, Request)
    return classify(message, revision)


def told(method: str, params: dict[str, Any]) -> list[str]:
    message = parse(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())
    assert isinstance(message, Notification)
    return [*mentioned_in(message)]


def answer(result: str) -> Response:
    message = parse(b'{"jsonrpc":"2.0", "id":1,"result":%s}' % result.encode())
    assert isinstance(message, Response)
    return message


def reason(result: Any, call: Call) -> Reason:
    def read() -> None:
        created_by(call, result)
        list(mentioned_in_result(call, result))

    with pytest.raises(Refused) as caught:
        read()
    return caught.value.reason


ASKED = called("tools/call", {"name": "slow", "task": {"ttl": 60_000}})
PLAIN = called("tools/call", {"name": "slow"})
STATELESS = called("tools/call", {"name": "slow"}, MODERN)
GET = called("tasks/get", {"taskId": "t"})


# -- which one it made --------------------------------------------------------------------------------------


def test_a_legacy_task_is_a_member_of_the_result_of_a_call_that_asked_for_one() -> None:
    result: Any = {"task": {"taskId": "t", "status": "working", "ttl": 60_000}}
    assert created_by(ASKED, result) == CreatedTask("t", 61)
    assert created_by(PLAIN, result) is None


def test_a_modern_task_is_the_result() -> None:
    result: Any = {"resultType": "task", "taskId": "t", "status": "working", "ttlMs": 60_000}
    assert created_by(STATELESS, result) == CreatedTask("t", 61)
    assert created_by(STATELESS, {**result, "resultType": "complete"}) is None


def test_a_result_of_its_own_makes_no_task() -> None:
    for call in (ASKED, PLAIN, STATELESS):
        assert created_by(call, {"content": [], "taskId": "t"}) is None


def test_nothing_but_a_tool_makes_tasks() -> None:
    prompt = called("prompts/get", {"name": "p", "task": {}})
    assert created_by(prompt, {"task": {"taskId": "t"}}) is None


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (0, 1),
        (999, 1),
        (1000, 2),
        (60_000.5, 61),
        (None, MAX_SECONDS),
        (-1, MAX_SECONDS),
        (True, MAX_SECONDS),
        ("60", MAX_SECONDS),
        (10**300, MAX_SECONDS),
    ],
)
def test_a_task_is_worth_remembering_for_its_lifetime_and_a_day_at_most(ttl: Any, seconds: int) -> None:
    assert created_by(ASKED, {"task": {"taskId": "t", "ttl": ttl}}) == CreatedTask("t", seconds)


@pytest.mark.parametrize(
    "task", [None, 1, [], "t", {}, {"taskId": 1}, {"taskId": ""}, {"taskId": "x" * 5000}]
)
def test_a_task_that_cannot_be_remembered_is_refused(task: Any) -> None:
    assert reason({"task": task}, ASKED) is Reason.MCP_TASK_MALFORMED
    if isinstance(task, dict):
        assert reason({"resultType": "task", **task}, STATELESS) is Reason.MCP_TASK_MALFORMED


@pytest.mark.parametrize("key", ["TaskId", "taskid", "ta\u017fkId", "Task"])
def test_another_spelling_is_refused(key: str) -> None:
    assert reason({"resultType": "task", key: "t"}, STATELESS) is Reason.MCP_ANSWER_MALFORMED
    assert reason({key: "t"}, GET) is Reason.MCP_ANSWER_MALFORMED


# -- which one it speaks of ---------------------------------------------------------------------------------


def test_what_is_asked_about_a_task_is_answered_about_one() -> None:
    assert [*mentioned_in_result(GET, {"taskId": "t", "status": "working"})] == ["t"]
    assert [*mentioned_in_result(GET, {"resultType": "complete"})] == []


def test_any_result_may_be_related_to_a_task() -> None:
    result = called("tasks/result", {"taskId": "t"})
    for call in (result, PLAIN, STATELESS):
        assert [*mentioned_in_result(call, {"content": [], **RELATED_TO_T})] == ["t"]


def test_what_a_tool_says_in_its_own_words_is_no_task() -> None:
    assert [*mentioned_in_result(PLAIN, {"taskId": "t", "structuredContent": RELATED_TO_T})] == []


@pytest.mark.parametrize("related", [None, "t", {}, {"taskId": 7}])
def test_a_relation_to_nothing_is_refused(related: Any) -> None:
    assert reason({"_meta": {RELATED: related}}, PLAIN) is Reason.MCP_TASK_MALFORMED


@pytest.mark.parametrize("method", ["notifications/tasks/status", "notifications/tasks"])
def test_a_status_is_about_its_task(method: str) -> None:
    assert told(method, {"taskId": "t", "status": "working"}) == ["t"]
    assert told(method, {"taskId": "t", "_meta": {RELATED: {"taskId": "u"}}}) == ["t", "u"]
    with pytest.raises(Refused) as caught:
        told(method, {"status": "working"})
    assert caught.value.reason is Reason.MCP_TASK_MALFORMED


def test_any_notification_may_be_related_to_a_task() -> None:
    assert told("notifications/progress", {"progressToken": 1, **RELATED_TO_T}) == ["t"]
    assert told("notifications/message", {"taskId": "t", "data": "x"}) == []


# -- a list of them -----------------------------------------------------------------------------------------


def test_a_list_keeps_what_is_own_and_every_other_byte() -> None:
    listed = answer(
        '{ "tasks": [ {"taskId":"a","n":1.50}, {"taskId": "b"},{"taskId":"c"} ],"nextCursor" : ""}'
    )
    assert (
        only_own(listed, {"a", "c"}.__contains__)
        == answer('{ "tasks": [{"taskId":"a","n":1.50},{"taskId":"c"}],"nextCursor" : ""}').raw
    )


def test_a_list_of_own_tasks_passes_as_it_came() -> None:
    listed = answer('{ "tasks" : [ {"taskId":"a"} ]}')
    assert only_own(listed, {"a"}.__contains__) is listed.raw


def test_what_has_no_id_is_nobody_s() -> None:
    listed = answer('{"tasks":[1,null,"a",{},{"taskId":7}]}')
    assert json.loads(only_own(listed, lambda _: True))["result"] == {"tasks": []}


@pytest.mark.parametrize("result", ["{}", '{"tasks":{}}', '{"tasks":null}'])
def test_what_is_no_list_is_refused(result: str) -> None:
    with pytest.raises(Refused) as caught:
        only_own(answer(result), lambda _: True)
    assert caught.value.reason is Reason.MCP_TASK_MALFORMED


@pytest.mark.parametrize("result", ['{"Tasks":[],"tasks":[]}', '{"tasks":[{"taskId":"a","TaskID":"b"}]}'])
def test_another_spelling_in_a_list_is_refused(result: str) -> None:
    with pytest.raises(Refused) as caught:
        only_own(answer(result), lambda _: True)
    assert caught.value.reason is Reason.MCP_ANSWER_MALFORMED


def test_an_error_passes() -> None:
    error = parse(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such cursor"}}')
    assert isinstance(error, Response)
    assert only_own(error, lambda _: False) is error.raw
