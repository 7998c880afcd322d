"""What a refused caller reads: enough to mend its own mistake, nothing of what it may not know."""

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply, Request, ResponseHead
from spiffe_mcp.manifest import compare
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh.granted import PolicyRefused
from spiffe_mcp.mesh.reading import NotAllowed
from spiffe_mcp.mesh.refusal import Addressee, answer, answer_refused
from spiffe_mcp.mesh.relay import Unanswered
from spiffe_mcp.policy import Decision, Visibility
from tests.exchange.playbook import (
    GUEST,
    LEGACY_HEADER,
    MANIFEST,
    Ingress,
    call,
    crossed,
    delete,
    legacy,
    message,
    post,
)
from tests.fakes import publisher

FORECAST, ALERT = publisher.tools()


def answered(refused: Refused, request: Request) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Status, headers and JSON of the answer."""
    head, body = answer(refused, Addressee.of(request))
    return head.status, dict(head.headers), json.loads(body)


def refused(decision: Decision) -> PolicyRefused:
    return PolicyRefused(decision)


OFFERED = Decision(
    allow=False,
    refusal=Reason.POLICY_DENIED,
    visibility=Visibility.OFFERED,
    message="Ask.",
    reason="internal",
)
HIDDEN = Decision(allow=False, refusal=Reason.POLICY_DENIED, message="never shown", reason="internal")


# -- to whom ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "addressee"),
    [
        (call(), Addressee(1, Era.MODERN, "get_forecast")),
        (legacy("tools/call", {"name": "x"}, id=0), Addressee(0, Era.LEGACY, "x")),
        (legacy("ping", id=""), Addressee("", Era.LEGACY)),
        (legacy("prompts/get", {"name": "x"}), Addressee(1, Era.LEGACY)),
        (legacy("tools/call", {"name": 7}), Addressee(1, Era.LEGACY)),
        (legacy("tools/call"), Addressee(1, Era.LEGACY)),
        (legacy("notifications/initialized", id=None), Addressee(None, Era.LEGACY)),
        (post(b'{"jsonrpc":"2.0","id":1,"result":{}}'), Addressee(None, Era.LEGACY)),
        (post(b"{"), Addressee(None, Era.MODERN)),
        (post(b"\xff"), Addressee(None, Era.MODERN)),
        (post(b"[]"), Addressee(None, Era.MODERN)),
        (delete(b"s"), Addressee(None, Era.MODERN)),
        (message("nope", {"_meta": 1}), Addressee(1, Era.MODERN)),
    ],
)
def test_an_answer_is_for_the_request_as_far_as_it_can_be_read(
    request_: Request, addressee: Addressee
) -> None:
    assert Addressee.of(request_) == addressee


def test_an_id_of_zero_is_an_id() -> None:
    status, _, said = answered(refused(OFFERED), legacy("tools/call", {"name": "x"}, id=0))
    assert (status, said["id"]) == (200, 0)


def test_what_has_no_id_is_answered_with_an_error_status() -> None:
    status, _, said = answered(refused(HIDDEN), legacy("notifications/initialized", id=None))
    assert (status, said["id"]) == (400, None)


# -- one answer for every tool that is not there ------------------------------------------------------------


def test_hidden_unsigned_changed_duplicate_and_unknown_are_one_answer_byte_for_byte() -> None:
    """As the exchange itself refuses them, each for its own reason."""
    lists: dict[Reason, list[Any]] = {
        Reason.MCP_TOOL_UNKNOWN: [ALERT],
        Reason.MANIFEST_TOOL_CHANGED: [{**FORECAST, "description": "!"}],
        Reason.MANIFEST_TOOL_DUPLICATE: [FORECAST, FORECAST],
        Reason.POLICY_DENIED: [FORECAST],
    }
    answers = set()
    for reason, listed in lists.items():
        request = crossed(call(), GUEST)
        refusal = Ingress(live=compare(MANIFEST.manifest, listed, protocol_version="")).refused(request)
        assert refusal.reason is reason
        answers.add(answer(refusal, Addressee.of(request)))
    unsigned = Refused(Reason.MANIFEST_TOOL_UNSIGNED, "get_forecast")
    answers.add(answer(unsigned, Addressee.of(call())))
    ((head, body),) = answers
    assert (head.status, json.loads(body)) == (
        200,
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Unknown tool: get_forecast"}},
    )


@pytest.mark.parametrize(
    "reason",
    [
        Reason.POLICY_UNDEFINED,
        Reason.POLICY_ERROR,
        Reason.POLICY_DECISION_MALFORMED,
        Reason.POLICY_INPUT_NUMBER,
    ],
)
def test_a_policy_that_could_not_decide_hides_the_tool(reason: Reason) -> None:
    broken = refused(Decision(allow=False, refusal=reason, detail="line 7"))
    assert answered(broken, call()) == answered(Refused(Reason.MCP_TOOL_UNKNOWN, "get_forecast"), call())


def test_bad_arguments_do_not_tell_that_a_hidden_tool_exists() -> None:
    request = crossed(call(town="Oslo"), GUEST)
    refusal = Ingress().refused(request)
    assert refusal.reason is Reason.MANIFEST_ARGUMENTS_INVALID
    unknown = Refused(Reason.MCP_TOOL_UNKNOWN, "get_forecast")
    assert answer(refusal, Addressee.of(request)) == answer(unknown, Addressee.of(call()))


def test_bad_arguments_are_told_to_a_caller_who_may_see_the_tool() -> None:
    request = crossed(call(town="Oslo"))
    said = answered(Ingress().refused(request), request)[2]
    assert said["error"]["data"] == {"reason": "manifest.arguments_invalid"}


# -- what may be read ---------------------------------------------------------------------------------------


def test_an_offered_tool_is_refused_in_the_words_meant_for_the_caller() -> None:
    status, _, said = answered(refused(OFFERED), call())
    assert (status, said["error"]["message"], said["error"]["data"]) == (
        200,
        "Ask.",
        {"reason": "policy.denied"},
    )
    assert "internal" not in json.dumps(said)


def test_a_message_for_a_hidden_tool_is_not_read() -> None:
    assert "never shown" not in json.dumps(answered(refused(HIDDEN), call())[2])


def test_a_hidden_list_is_refused_plainly() -> None:
    _, _, said = answered(refused(HIDDEN), message("tools/list"))
    assert said["error"] == {
        "code": 403001,
        "message": "Refused by policy",
        "data": {"reason": "policy.denied"},
    }


@pytest.mark.parametrize("reason", [*Reason], ids=lambda reason: reason.code)
def test_no_answer_to_any_refusal_holds_its_detail(reason: Reason) -> None:
    """The detail is the operator's; but a tool and a version are the caller's own words."""
    status, headers, said = answered(Refused(reason, "s3cr3t"), message("resources/read", {"uri": "x"}))
    if reason not in {Reason.MCP_TOOL_UNKNOWN, Reason.MCP_VERSION_UNSUPPORTED}:
        assert "s3cr3t" not in json.dumps(said)
    assert (said["jsonrpc"], said["id"]) == ("2.0", 1)
    assert reason.status in {status, 200}
    assert headers[b"content-type"] == b"application/json"


def test_whoever_used_a_wrong_method_learns_the_right_ones() -> None:
    _, headers, _ = answered(NotAllowed(b"GET", b"POST, DELETE"), post(b""))
    assert headers[b"allow"] == b"POST, DELETE"


@pytest.mark.parametrize(
    ("request_", "status"), [(message("x"), 404), (post(legacy("x").body, LEGACY_HEADER), 200)]
)
def test_an_unknown_method_is_answered_as_its_era_does(request_: Request, status: int) -> None:
    assert answered(Refused(Reason.MCP_METHOD_UNKNOWN), request_)[0] == status


# -- when ---------------------------------------------------------------------------------------------------


@dataclass
class Replied:
    """A reply that keeps what is sent."""

    started: bool = False
    was_cut: bool = False
    was_finished: bool = False
    written: bytes = b""
    sent: tuple[ResponseHead, bytes] | None = None

    async def send(self, head: ResponseHead, body: bytes) -> None:
        self.sent = (head, body)

    async def write(self, chunk: bytes) -> None:
        self.written += chunk

    def finish(self) -> None:
        self.was_finished = True

    def cut(self) -> None:
        self.was_cut = True


async def test_a_refusal_is_answered_once_with_its_status() -> None:
    reply = Replied()
    await answer_refused(Refused(Reason.CONTEXT_EXPIRED), call(), cast("Reply", reply))
    assert reply.sent is not None
    assert reply.sent[0].status == 403


async def test_whoever_waits_in_a_stream_for_its_answer_gets_the_error_as_its_last_event() -> None:
    reply = Replied(started=True)
    await answer_refused(Unanswered(Reason.MCP_SERVER_REQUEST_REFUSED), call(), cast("Reply", reply))
    assert (reply.sent, reply.was_cut, reply.was_finished) == (None, False, True)
    kind, data, *rest = reply.written.split(b"\n")
    assert (kind, rest) == (b"event: message", [b"", b""])
    assert json.loads(data.removeprefix(b"data: "))["id"] == 1


async def test_nothing_is_added_to_another_answer_that_has_begun() -> None:
    """An error in the middle of it could pass for a part; it is cut."""
    reply = Replied(started=True)
    await answer_refused(Refused(Reason.UPSTREAM_TIMEOUT), call(), cast("Reply", reply))
    assert (reply.sent, reply.was_cut) == (None, True)
