"""Tasks, from the call that makes one to its result: both eras, whoever asks, and what is recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request, ResponseHead
from spiffe_mcp.manifest import LiveView, compare
from spiffe_mcp.mcp.tasks import RELATED
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.policy import RegoPolicy
from spiffe_mcp.strict_json import JsonObject
from tests.exchange.playbook import (
    ALICE,
    GUEST,
    MANIFEST,
    META,
    NOW,
    PLANNER,
    REVIEWER,
    Egress,
    Ingress,
    crossed,
    legacy,
    message,
    refused_by,
    with_headers,
)
from tests.fakes import publisher

JSON: Final = ResponseHead(200, ((b"content-type", b"application/json"),))
STREAM: Final = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
TAKES_TASKS: Final[JsonObject] = {
    **META,
    "io.modelcontextprotocol/clientCapabilities": {
        "extensions": {"io.modelcontextprotocol/tasks": {}},
        "elicitation": {},
    },
}
CALL: Final[dict[str, Any]] = {"name": "get_forecast", "arguments": {"city": "Oslo"}}
SESSION: Final = (b"mcp-session-id", b"s-1")


def answered(side: Ingress, permit: Permit, result: dict[str, Any], now: datetime = NOW) -> dict[str, Any]:
    """The result that the caller gets for what the server said."""
    passing = filter_for(permit, JSON, side.behind(now=now))
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    said: dict[str, Any] = json.loads(passing.feed(body) + passing.finish())
    return said["result"]  # type: ignore[no-any-return]  # of JSON


def modern_task(task_id: str = "t-1") -> dict[str, Any]:
    return {"resultType": "task", "taskId": task_id, "status": "working", "ttlMs": 60_000}


def legacy_task(task_id: str = "t-1") -> dict[str, Any]:
    return {"task": {"taskId": task_id, "status": "working", "ttl": 60_000}}


def stateless(method: str, **params: Any) -> Request:
    """A request of 2026-07-28 by a client that takes tasks."""
    return message(method, params, meta=TAKES_TASKS)


def in_session(method: str, **params: Any) -> Request:
    return with_headers(legacy(method, params), SESSION)


def with_modern_task() -> Ingress:
    """A side on which the planner's call for Alice has made `t-1`."""
    side = Ingress()
    answered(side, side.admit(crossed(stateless("tools/call", **CALL))), modern_task())
    return side


def with_legacy_task() -> Ingress:
    side = Ingress()
    opened = side.admit(crossed(legacy("initialize", {})))
    side.memory.sessions.opened(b"s-1", opened.authenticated.owner, NOW)
    permit = side.admit(crossed(in_session("tools/call", **CALL, task={"ttl": 60_000})))
    answered(side, permit, legacy_task())
    return side


MODERN: Final = ("tasks/get", "tasks/update", "tasks/cancel")
LEGACY: Final = ("tasks/get", "tasks/result", "tasks/cancel")
ASKED: Final[list[tuple[Callable[[], Ingress], Callable[..., Request], str]]] = [
    *((with_modern_task, stateless, method) for method in MODERN),
    *((with_legacy_task, in_session, method) for method in LEGACY),
]
each_question: Final = pytest.mark.parametrize(
    ("made", "ask", "method"), ASKED, ids=[f"{ask.__name__} {method}" for _, ask, method in ASKED]
)


# -- who may ask --------------------------------------------------------------------------------------------


@each_question
def test_whoever_made_a_task_may_ask_about_it(
    made: Callable[[], Ingress], ask: Callable[..., Request], method: str
) -> None:
    side, request = made(), ask(method, taskId="t-1")
    assert side.admit(crossed(request)).request.body == request.body


@each_question
def test_for_anybody_else_it_does_not_exist(
    made: Callable[[], Ingress], ask: Callable[..., Request], method: str
) -> None:
    side = made()
    for request in (ask(method, taskId="t-1"), ask(method, taskId="t-2")):
        asked = Egress(svid=REVIEWER, user=ALICE).admit(request).request
        unknown = {Reason.MCP_TASK_UNKNOWN, Reason.SESSION_UNKNOWN}
        assert side.refuses(asked, of=REVIEWER) in unknown, "another workload"
        assert side.refuses(crossed(request, GUEST)) in unknown, "another user"
    assert side.refuses(crossed(ask(method, taskId="t-2"))) is Reason.MCP_TASK_UNKNOWN


@each_question
def test_policy_decides_about_it_as_about_the_tool_that_made_it(
    made: Callable[[], Ingress], ask: Callable[..., Request], method: str
) -> None:
    side = made()
    side.policy = RegoPolicy.compile(
        {
            "p.rego": f"""\
package mcp.authz
decision := {{"allow": false, "reason": "not now"}} if {{
    input.action == "{method}"
    input.tool.name == "get_forecast"
    not input.arguments
}}
"""
        }
    )
    assert side.refuses(crossed(ask(method, taskId="t-1"))) is Reason.POLICY_DENIED
    record = side.log.last
    assert (record["action"], record["tool"], record["justification"]) == (method, "get_forecast", "not now")
    assert record["tool_digest"] == side.live.exposed["get_forecast"].digest


@each_question
def test_its_id_is_written_nowhere(
    made: Callable[[], Ingress], ask: Callable[..., Request], method: str
) -> None:
    """It may be all that a server asks for."""
    side, egress = made(), Egress()
    side.admit(egress.admit(ask(method, taskId="t-1")).request)
    side.refuses(egress.admit(ask(method, taskId="t-2")).request)
    written = json.dumps([record.document() for record in (*side.log.records, *egress.log.records)])
    assert "t-1" not in written
    assert "t-2" not in written


@each_question
def test_a_tool_that_is_not_what_was_signed_does_not_answer_later_either(
    made: Callable[[], Ingress], ask: Callable[..., Request], method: str
) -> None:
    side = made()
    forecast, alert = publisher.tools()
    side.live = compare(
        MANIFEST.manifest, [{**forecast, "description": "other"}, alert], protocol_version="2025-11-25"
    )
    assert side.refuses(crossed(ask(method, taskId="t-1"))) is Reason.MCP_TASK_UNKNOWN


def test_a_task_of_one_session_is_not_of_another() -> None:
    side = with_legacy_task()
    owner = side.admit(crossed(in_session("tasks/get", taskId="t-1"))).authenticated.owner
    side.memory.sessions.opened(b"s-2", owner, NOW)
    elsewhere = with_headers(legacy("tasks/get", {"taskId": "t-1"}), (b"mcp-session-id", b"s-2"))
    assert side.refuses(crossed(elsewhere)) is Reason.MCP_TASK_UNKNOWN
    assert side.refuses(crossed(legacy("tasks/get", {"taskId": "t-1"}))) is Reason.MCP_TASK_UNKNOWN
    assert side.refuses(crossed(stateless("tasks/get", taskId="t-1"))) is Reason.MCP_TASK_UNKNOWN


def test_a_task_is_forgotten_after_its_lifetime() -> None:
    side, later = with_modern_task(), NOW + timedelta(seconds=70)
    request = Egress().admit(stateless("tasks/get", taskId="t-1"), now=later).request
    assert side.refuses(request, now=later) is Reason.MCP_TASK_UNKNOWN


@pytest.mark.parametrize("params", [{}, {"taskId": 1}, {"taskId": ""}, {"TaskId": "t-1"}])
def test_a_question_about_no_task_goes_nowhere(params: dict[str, Any]) -> None:
    refused = refused_by(lambda: Egress().admit(legacy("tasks/get", params)))
    assert refused.reason in {Reason.MCP_PARAMS_MALFORMED, Reason.MCP_KEY_CASE}


def test_a_mirror_that_names_another_task_goes_nowhere() -> None:
    one, other = stateless("tasks/get", taskId="t-1"), stateless("tasks/get", taskId="t-2")
    assert Egress().refuses(replace(one, headers=other.headers)) is Reason.MCP_HEADER_MISMATCH


# -- what they are told -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", MODERN)
@pytest.mark.parametrize("about", [{"taskId": "t-2"}, {"_meta": {RELATED: {"taskId": "t-2"}}}])
def test_an_answer_about_another_task_does_not_pass(method: str, about: dict[str, Any]) -> None:
    side = with_modern_task()
    answered(side, side.admit(crossed(stateless("tools/call", **CALL))), modern_task("t-2"))
    permit = side.admit(crossed(stateless(method, taskId="t-1")))
    result = {"resultType": "complete", **about}
    assert refused_by(lambda: answered(side, permit, result)).reason is Reason.MCP_TASK_FOREIGN


def test_a_result_that_is_related_to_somebody_elses_task_does_not_pass() -> None:
    side = with_modern_task()
    permit = side.admit(Egress(svid=REVIEWER).admit(message("tools/call", CALL)).request, of=REVIEWER)
    result = {"content": [], "_meta": {RELATED: {"taskId": "t-1"}}}
    assert refused_by(lambda: answered(side, permit, result)).reason is Reason.MCP_TASK_FOREIGN


def test_the_result_of_a_task_passes_as_it_came() -> None:
    side = with_legacy_task()
    permit = side.admit(crossed(in_session("tasks/result", taskId="t-1")))
    result = {"content": [{"type": "text", "text": "rain"}], "_meta": {RELATED: {"taskId": "t-1"}}}
    assert answered(side, permit, result) == result


def test_a_task_may_ask_what_its_client_declared_and_nothing_else() -> None:
    side = with_modern_task()
    permit = side.admit(crossed(stateless("tasks/get", taskId="t-1")))
    asked: dict[str, Any] = {"resultType": "complete", "taskId": "t-1", "status": "input_required"}
    form = {"method": "elicitation/create", "params": {"mode": "form", "message": "?"}}
    result = {**asked, "inputRequests": {"a": form}}
    assert answered(side, permit, result) == result
    sampling = {"method": "sampling/createMessage", "params": {"messages": []}}
    refused = refused_by(lambda: answered(side, permit, {**asked, "inputRequests": {"a": sampling}}))
    assert refused.reason is Reason.MCP_CAPABILITY_UNDECLARED


def test_a_task_for_a_client_that_takes_none_does_not_pass() -> None:
    side = Ingress()
    permit = side.admit(crossed(message("tools/call", CALL)))
    assert (
        refused_by(lambda: answered(side, permit, modern_task())).reason is Reason.MCP_CAPABILITY_UNDECLARED
    )


def test_an_id_that_is_somebody_elses_already_does_not_pass() -> None:
    side = with_modern_task()
    request = Egress(svid=REVIEWER).admit(stateless("tools/call", **CALL)).request
    permit = side.admit(request, of=REVIEWER)
    assert refused_by(lambda: answered(side, permit, modern_task())).reason is Reason.TASK_UNUSABLE


def test_a_list_holds_the_tasks_of_whoever_asks() -> None:
    side = with_legacy_task()
    permit = side.admit(crossed(in_session("tasks/list")))
    mine, foreign = {"taskId": "t-1", "status": "working"}, {"taskId": "t-2", "status": "working"}
    assert answered(side, permit, {"tasks": [foreign, mine], "nextCursor": ""}) == {
        "tasks": [mine],
        "nextCursor": "",
    }


def test_the_modern_era_has_no_list() -> None:
    assert Egress().refuses(stateless("tasks/list")) is Reason.MCP_METHOD_UNKNOWN
    assert Egress().refuses(stateless("tasks/result")) is Reason.MCP_METHOD_UNKNOWN
    assert Egress().refuses(legacy("tasks/update", {"taskId": "t"})) is Reason.MCP_METHOD_UNKNOWN


def event(said: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps({"jsonrpc": "2.0", **said}).encode()


def test_a_status_reaches_the_owner_of_the_task_alone() -> None:
    side = with_legacy_task()
    permit = side.admit(crossed(in_session("tools/call", **CALL)))
    passing = filter_for(permit, STREAM, side.behind())

    def told(method: str, **params: Any) -> bool:
        said = event({"method": method, "params": params})
        passed = passing.feed(said)
        assert passed in (said, b"\n"), "whole, or only the end of an event"
        return passed == said

    status = "notifications/tasks/status"
    assert told(status, taskId="t-1", status="working")
    assert not told(status, taskId="t-2", status="working")
    assert not told(status, status="working")
    assert told("notifications/progress", progressToken=1, _meta={RELATED: {"taskId": "t-1"}})
    assert not told("notifications/progress", progressToken=1, _meta={RELATED: {"taskId": "t-2"}})
    assert not told("notifications/progress", progressToken=1, _meta={RELATED: "t-1"})
    assert told("notifications/progress", progressToken=1)


def test_what_a_refused_caller_reads_is_the_same_for_every_task() -> None:
    """Answers to the same message, about a task of another and about none."""
    side = with_modern_task()

    def refusal(task_id: str) -> Refused:
        request = Egress(svid=REVIEWER).admit(stateless("tasks/get", taskId=task_id)).request
        return side.refused(request, of=REVIEWER)

    foreign, unknown = refusal("t-1"), refusal("t-9")
    assert (foreign.reason, foreign.detail) == (unknown.reason, unknown.detail)


def test_a_view_of_tools_that_is_empty_closes_all_tasks() -> None:
    side = with_modern_task()
    side.live = LiveView({}, {}, frozenset(), 0)
    assert side.refuses(crossed(stateless("tasks/get", taskId="t-1"))) is Reason.MCP_TASK_UNKNOWN


def test_the_planner_is_who_asks() -> None:
    """What the tests above build on."""
    assert with_modern_task().admit(
        crossed(stateless("tasks/get", taskId="t-1"))
    ).authenticated.maker.owner.caller == (PLANNER.spiffe_id)
