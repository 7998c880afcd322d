"""Legacy GET streams, bytes in and bytes out: what reaches a client that listens, and what comes again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import ResponseHead
from spiffe_mcp.mcp.capabilities import Capability
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.granted import ListeningRefused, Permit, PolicyRefused
from spiffe_mcp.mesh.ingress import check_still
from spiffe_mcp.mesh.refusal import Addressee, answer
from spiffe_mcp.mesh.relay import Nothing
from spiffe_mcp.policy import PolicyEngine, RegoPolicy
from tests.exchange.playbook import (
    GUEST,
    NOW,
    Ingress,
    answering,
    crossed,
    delete,
    header,
    legacy,
    listening,
)
from tests.fakes import publisher

FORECAST, ALERT = publisher.tools()
STREAM = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
CHANGED = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'


def event(message: Mapping[str, Any], event_id: bytes = b"") -> bytes:
    name = b"id: " + event_id + b"\n" if event_id else b""
    return name + b"data: " + json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n\n"


def listed(message_id: Any = 7, event_id: bytes = b"") -> bytes:
    return event({"id": message_id, "result": {"tools": [FORECAST, ALERT]}}, event_id)


class Session:
    """A session of Alice's at the weather server, and one of the guest's."""

    def __init__(self) -> None:
        self.side = Ingress()
        for name, user in ((b"s", None), (b"g", GUEST)):
            by = () if user is None else (user,)
            owner = self.side.admit(crossed(legacy("tools/list"), *by)).authenticated.owner
            self.side.memory.sessions.opened(name, owner, NOW, Capability.SAMPLING)

    def asks(self, method: str = "tools/list", params: Any = None) -> Permit:
        return self.side.admit(crossed(legacy(method, params, id=7, session=b"s")))

    def listens(self, after: bytes | None = None) -> Permit:
        return self.side.admit(crossed(listening(b"s", after)))

    def passes(self, permit: Permit, stream: bytes) -> bytes:
        """What reaches the client of `stream`, which may end then."""
        passing = filter_for(permit, STREAM, self.side.behind())
        return passing.feed(stream) + passing.finish()


def tools(stream: bytes) -> list[str]:
    (data,) = [line[6:] for line in stream.splitlines() if line.startswith(b"data: ")]
    return [tool["name"] for tool in json.loads(data)["result"]["tools"]]


def test_what_a_server_tells_reaches_who_listens() -> None:
    session = Session()
    permit = session.listens()
    assert (permit.request.method, permit.request.body) == (b"GET", b"")
    assert header(permit.request.headers, b"mcp-session-id") == b"s"
    assert session.passes(permit, CHANGED) == CHANGED


def test_what_answers_nothing_is_withheld_and_its_id_is_not() -> None:
    session = Session()
    assert session.passes(session.listens(), listed(7, b"e9")) == b"id: e9\n\n"
    error = event({"id": None, "error": {"code": 1, "message": "x"}})
    assert b"data" not in session.passes(session.listens(), error)


def test_a_question_reaches_who_listens_and_is_answered_in_the_session() -> None:
    session = Session()
    question = event({"id": 3, "method": "sampling/createMessage", "params": {}})
    assert session.passes(session.listens(), question) == question
    answer_ = crossed(answering(3, b"s"))
    assert session.side.admit(answer_).request.body == answer_.body


def test_an_answer_goes_on_where_its_stream_broke_and_is_filtered_as_ever() -> None:
    session = Session()
    began = b"id: e1\ndata:\n\n"
    assert session.passes(session.asks(), began) == began  # which may end before its answer now
    again = session.passes(session.listens(b"e1"), listed(7, b"e2"))
    assert tools(again) == ["get_forecast"]
    assert header(session.listens(b"e1").request.headers, b"last-event-id") == b"e1"


def test_events_that_came_again_are_remembered_too() -> None:
    session = Session()
    session.passes(session.asks(), b"id: e1\ndata:\n\n")
    session.passes(session.listens(b"e1"), b"id: e2\ndata:\n\n")
    assert tools(session.passes(session.listens(b"e2"), listed())) == ["get_forecast"]


def test_the_answer_to_another_call_does_not_come_again() -> None:
    session = Session()
    session.passes(session.asks(), b"id: e1\ndata:\n\n")
    for other in (8, "7"):
        assert b"data" not in session.passes(session.listens(b"e1"), listed(other))


def test_a_stream_that_answered_no_call_brings_no_answer_back() -> None:
    session = Session()
    session.passes(session.listens(), b"id: e1\n" + CHANGED)
    assert b"data" not in session.passes(session.listens(b"e1"), listed())


def test_a_task_that_comes_again_is_withheld() -> None:
    session = Session()
    session.passes(session.asks("prompts/get", {"name": "p"}), b"id: e1\ndata:\n\n")
    task = event({"id": 7, "result": {"task": {"taskId": "t"}}})
    assert b"data" not in session.passes(session.listens(b"e1"), task)


def test_an_event_is_unknown_in_another_session_and_when_it_was_never_sent() -> None:
    session = Session()
    session.passes(session.asks(), b"id: e1\ndata:\n\n")
    foreign = crossed(listening(b"g", b"e1"), GUEST)
    assert session.side.refuses(foreign) is Reason.SESSION_EVENT_UNKNOWN
    assert session.side.refuses(crossed(listening(b"s", b"e2"))) is Reason.SESSION_EVENT_UNKNOWN


def test_a_session_of_another_is_unknown() -> None:
    session = Session()
    assert session.side.refuses(crossed(listening(b"g"))) is Reason.SESSION_UNKNOWN


def test_without_an_id_a_stream_may_not_end_before_its_answer() -> None:
    session = Session()
    with pytest.raises(Refused) as caught:
        session.passes(session.asks(), b"data:\n\n")
    assert caught.value.reason is Reason.MCP_ANSWER_MISSING


def test_a_policy_that_shows_no_lists_any_more_shows_none_again() -> None:
    session = Session()
    session.passes(session.asks(), b"id: e1\ndata:\n\n")
    narrow = {"p.rego": """\
package mcp.authz
default decision := {"allow": false}
decision := {"allow": true} if input.action == "session/listen"
visible_tools contains tool.name if some tool in input.tools
"""}  # fmt: skip
    session.side = replace(session.side, policy=RegoPolicy.compile(narrow))
    assert tools(session.passes(session.listens(b"e1"), listed())) == []


DENIES = RegoPolicy.compile({"p.rego": 'package mcp.authz\ndecision := {"allow": false}\n'})


def test_a_stream_that_policy_does_not_grant_is_none() -> None:
    session = Session()
    session.side = replace(session.side, policy=DENIES)
    refused = session.side.refused(crossed(listening(b"s")))
    assert isinstance(refused, ListeningRefused)
    head, _ = answer(refused, Addressee.of(listening(b"s")))
    assert (head.status, dict(head.headers)[b"allow"]) == (405, b"POST, DELETE")


def test_a_stream_is_permitted_as_long_as_it_would_be_granted() -> None:
    session = Session()
    permit, memory = session.listens(), session.side.memory

    def look(policy: PolicyEngine) -> None:
        check_still(
            permit,
            manifest=session.side.manifest,
            policy=policy,
            environment="test",
            memory=memory,
            now=NOW,
        )

    look(session.side.policy)
    with pytest.raises(PolicyRefused):
        look(DENIES)
    memory.sessions.ended(b"s")
    with pytest.raises(Refused) as caught:
        look(session.side.policy)
    assert caught.value.reason is Reason.SESSION_UNKNOWN


def test_what_is_no_stream_is_not_passed_on() -> None:
    session = Session()
    permit, json_ = session.listens(), ResponseHead(200, ((b"content-type", b"application/json"),))
    with pytest.raises(Refused) as caught:
        filter_for(permit, json_, session.side.behind())
    assert caught.value.reason is Reason.MCP_ANSWER_TYPE
    assert isinstance(filter_for(session.listens(), ResponseHead(405, ()), session.side.behind()), Nothing)


def test_only_a_get_says_after_which_event() -> None:
    session = Session()
    stray = ((b"last-event-id", b"e1"),)
    for request in (legacy("tools/list", session=b"s"), delete(b"s")):
        permit = session.side.admit(crossed(replace(request, headers=(*request.headers, *stray))))
        assert b"last-event-id" not in dict(permit.request.headers)
