"""What a server asks reaches a client that offered to answer, with the permission of policy, and waits."""

import json
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import ResponseHead
from spiffe_mcp.mcp import Request as McpRequest
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.questions import Questions
from tests.exchange.playbook import GUEST, NOW, Ingress, answering, call, crossed, legacy, vouched

STREAM = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
LISTING = crossed(legacy("tools/list"))


class Session:
    """A session of Alice's in which that was declared."""

    def __init__(self, declared: Capability = Capability.SAMPLING, user: Any = None) -> None:
        self.side, self.declined = Ingress(), list[Declined]()
        listing = crossed(legacy("tools/list"), *(() if user is None else (user,)))
        owner = self.side.admit(listing).authenticated.owner
        self.side.memory.sessions.opened(b"s", owner, NOW, declared)
        request = legacy("tools/list", session=b"s", id=7)
        self.permit = self.side.admit(crossed(request, *(() if user is None else (user,))))
        self.behind = self.side.behind(decline=self.declined.append)

    def asks(self, method: str = "sampling/createMessage", message_id: Any = "q") -> bytes:
        """What reaches the client of a question."""
        raw = json.dumps({"jsonrpc": "2.0", "id": message_id, "method": method}).encode()
        return Questions(self.permit, self.behind).request(McpRequest(raw, message_id, method, None))

    @property
    def told(self) -> tuple[Any, Reason]:
        """What the server is told, and why."""
        (declined,) = self.declined
        return json.loads(declined.request.body), declined.refused.reason


def test_it_reaches_the_client_as_it_came_and_may_be_answered_once() -> None:
    session = Session()
    assert json.loads(session.asks())["method"] == "sampling/createMessage"
    answer = crossed(answering("q", b"s"))
    permit = session.side.admit(answer)
    assert permit.request.body == answer.body
    assert session.side.refuses(crossed(answering("q", b"s"))) is Reason.MCP_RESPONSE_UNEXPECTED
    assert not session.declined


def test_an_answer_to_what_nobody_asked_goes_nowhere() -> None:
    session = Session()
    assert session.side.refuses(crossed(answering("q", b"s"))) is Reason.MCP_RESPONSE_UNEXPECTED
    assert session.side.refuses(vouched(answering("q", b"t"))) is Reason.SESSION_UNKNOWN


def test_what_the_client_did_not_offer_is_declined_in_the_session() -> None:
    session = Session(NOTHING)
    assert session.asks(message_id=5) == b""
    said, why = session.told
    assert (said["id"], said["error"]["code"]) == (5, -32601)
    assert why is Reason.MCP_CAPABILITY_UNDECLARED
    request = session.declined[0].request
    assert (request.method, request.target) == (b"POST", session.permit.request.target)
    assert dict(request.headers) == {
        b"host": b"127.0.0.1:9000",
        b"mcp-protocol-version": b"2025-11-25",
        b"mcp-session-id": b"s",
        b"content-type": b"application/json",
        b"accept": b"application/json, text/event-stream",
    }


def test_what_policy_refuses_is_declined_without_the_reason() -> None:
    session = Session(Capability.ROOTS)
    assert session.asks("roots/list") == b""
    said, why = session.told
    assert said["error"] == {"code": 403001, "message": "Refused by policy"}
    assert why is Reason.POLICY_DENIED


def test_policy_knows_who_would_be_asked() -> None:
    session = Session(user=GUEST)
    assert session.asks() == b""
    assert session.told[1] is Reason.POLICY_DENIED


def test_what_nobody_is_asked_is_declined() -> None:
    session = Session(~NOTHING)
    assert session.asks("tools/call") == b""
    assert session.told[1] is Reason.MCP_SERVER_REQUEST_REFUSED


def test_without_a_session_a_question_ends_the_stream() -> None:
    side = Ingress()
    questions = Questions(side.admit(crossed(legacy("tools/list"))), side.behind())
    with pytest.raises(Refused) as caught:
        questions.request(McpRequest(b"{}", 1, "ping", None))
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED


def test_in_2026_07_28_a_question_ends_the_stream() -> None:
    side = Ingress()
    passing = filter_for(side.admit(crossed(call())), STREAM, side.behind())
    with pytest.raises(Refused) as caught:
        passing.feed(b'data: {"jsonrpc":"2.0","id":9,"method":"ping"}\n\n')
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED


def test_a_question_stands_in_the_stream_of_an_answer() -> None:
    session = Session()
    passing = filter_for(session.permit, STREAM, session.behind)
    question = b'data: {"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}\n\n'
    other = b'id: 1\ndata: {"jsonrpc":"2.0","id":10,"method":"elicitation/create","params":{}}\n\n'
    assert passing.feed(question + other) == question + b"id: 1\n\n"
    assert session.told[1] is Reason.MCP_CAPABILITY_UNDECLARED
