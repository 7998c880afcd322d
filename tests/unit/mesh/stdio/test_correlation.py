"""An answer finds whoever asked, under the ID and the token that he asked with; and nobody else."""

import json
from typing import Any

import pytest

from spiffe_mcp.mcp import Notification, Request, Response, parse
from spiffe_mcp.mesh.stdio.correlation import Correlation, cancelled, cancels, renamed


def request(message_id: Any, token: Any = None) -> Request:
    meta = {} if token is None else {"_meta": {"progressToken": token, "kept": 1.0}}
    asked = parse(encoded({"id": message_id, "method": "tools/call", "params": {"name": "x", **meta}}))
    assert isinstance(asked, Request)
    return asked


def answer(number: Any, result: Any) -> Response:
    answered = parse(encoded({"id": number, "result": result}))
    assert isinstance(answered, Response)
    return answered


def note(method: str, params: Any) -> Notification:
    noted = parse(encoded({"method": method, "params": params}))
    assert isinstance(noted, Notification)
    return noted


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def two(token: Any = 1) -> tuple[Correlation[str], int, int]:
    """Two who ask with the same ID and the same token."""
    correlation = Correlation[str]()
    (first, _), (second, _) = (correlation.asked(request(1, token), who) for who in ("first", "second"))
    return correlation, first, second


def test_the_same_ids_go_out_as_different_numbers() -> None:
    correlation = Correlation[str]()
    sent = [json.loads(correlation.asked(request("a", "t"), who)[1]) for who in ("first", "second")]
    assert [message["id"] for message in sent] == [1, 2]
    assert [message["params"]["_meta"] for message in sent] == [
        {"progressToken": 1, "kept": 1.0},
        {"progressToken": 2, "kept": 1.0},
    ]


@pytest.mark.parametrize("message_id", ["a", 0, -5, "1", 'q"\\u0041'])
def test_an_answer_has_the_id_of_its_question(message_id: Any) -> None:
    correlation = Correlation[str]()
    number, _ = correlation.asked(request(message_id), "me")
    routed = correlation.answered(answer(number, {"x": 1}))
    assert routed is not None
    assert (routed.who, routed.is_last) == ("me", True)
    assert json.loads(routed.message) == {"jsonrpc": "2.0", "id": message_id, "result": {"x": 1}}


def test_each_answer_is_its_own_askers_in_any_order() -> None:
    correlation, first, second = two()
    found = [correlation.answered(answer(number, {})) for number in (second, first)]
    assert [routed.who for routed in found if routed] == ["second", "first"]


@pytest.mark.parametrize("number", [3, "1", 0, -1])
def test_an_answer_to_no_question_is_nobodys(number: Any) -> None:
    correlation, _, _ = two()
    assert correlation.answered(answer(number, {})) is None
    assert len(correlation) == 2


def test_a_second_answer_is_nobodys() -> None:
    correlation, first, _ = two()
    assert correlation.answered(answer(first, {})) is not None
    assert correlation.answered(answer(first, {})) is None


def test_progress_is_for_whom_it_names() -> None:
    correlation, _, second = two("mine")
    routed = correlation.noted(note("notifications/progress", {"progressToken": second, "progress": 1}))
    assert routed is not None
    assert (routed.who, json.loads(routed.message)["params"]["progressToken"]) == ("second", "mine")


@pytest.mark.parametrize("token", [99, "mine", None, 1.5, True])
def test_progress_of_nothing_is_nobodys(token: Any) -> None:
    correlation, _, _ = two("mine")
    assert correlation.noted(note("notifications/progress", {"progressToken": token, "progress": 1})) is None


def test_what_names_nothing_is_for_the_only_one() -> None:
    correlation, first, _ = two()
    assert correlation.noted(note("notifications/message", {"data": "x"})) is None
    correlation.gone(first)
    routed = correlation.noted(note("notifications/message", {"data": "x"}))
    assert routed is not None
    assert routed.who == "second"


def test_what_is_said_to_a_subscription_bears_the_id_it_was_asked_under() -> None:
    correlation = Correlation[str]()
    number, _ = correlation.asked(request("sub"), "me")
    correlation.asked(request("sub"), "another")
    meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}
    routed = correlation.noted(note("notifications/tools/list_changed", meta))
    assert routed is not None
    assert routed.who == "me"
    said = json.loads(routed.message)["params"]["_meta"]
    assert said == {"io.modelcontextprotocol/subscriptionId": "sub"}


def test_a_cancellation_names_the_number() -> None:
    cancel = note("notifications/cancelled", {"requestId": "a", "reason": "enough"})
    assert cancels(cancel) == "a"
    assert json.loads(renamed(cancel, 7))["params"] == {"requestId": 7, "reason": "enough"}
    assert json.loads(cancelled(7))["params"] == {"requestId": 7}


def test_ids_of_another_type_are_other_ids() -> None:
    correlation = Correlation[str]()
    correlation.asked(request("1"), "text")
    correlation.asked(request(1), "number")
    assert correlation.under("1") == ["text"]
    assert correlation.under(1) == ["number"]
