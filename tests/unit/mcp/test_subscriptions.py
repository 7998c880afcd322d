"""A subscription's stream carries what was asked for, under its ID, after it was acknowledged."""

import json
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call, read_call
from spiffe_mcp.mcp.message import Notification, Request, Response, parse
from spiffe_mcp.mcp.subscriptions import (
    ID_KEY,
    MAX_NAMED,
    OfASubscription,
    Subscription,
    SubscriptionJudge,
)
from tests.exchange.playbook import message

TOOLS, PROMPTS = "notifications/tools/list_changed", "notifications/prompts/list_changed"
ALL = {
    "toolsListChanged": True,
    "promptsListChanged": False,
    "resourceSubscriptions": ["demo://a", "demo://dir/"],
    "taskIds": ["t-1"],
}


def called(params: dict[str, Any] | None = None, method: str = "subscriptions/listen") -> Call:
    request = message(method, params)
    return read_call(parse(request.body), request.headers)


def subscribed(**wanted: Any) -> Subscription:
    subscription = Subscription.of(called({"notifications": wanted or ALL}))
    assert subscription is not None
    return subscription


def told(method: str, subscription_id: Any = 1, **params: Any) -> Notification:
    document = {
        "jsonrpc": "2.0",
        "method": method,
        "params": {**params, "_meta": {ID_KEY: subscription_id}},
    }
    notification = parse(json.dumps(document).encode())
    assert isinstance(notification, Notification)
    return notification


def acknowledged(**promised: Any) -> Notification:
    return told("notifications/subscriptions/acknowledged", notifications=promised)


# -- what is asked for --------------------------------------------------------------------------------------


def test_it_says_what_is_asked_for() -> None:
    subscription = subscribed()
    assert subscription == Subscription(1, frozenset({TOOLS}), ("demo://a", "demo://dir/"), ("t-1",))
    assert not subscription.is_empty
    assert subscribed(toolsListChanged=False).is_empty


def test_another_call_asks_for_nothing() -> None:
    assert Subscription.of(called(method="tools/list")) is None


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": []}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"toolsListChanged": 1}}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"resourceSubscriptions": "demo://a"}}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"resourceSubscriptions": [1]}}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"resourceSubscriptions": [""]}}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"taskIds": ["t"] * (MAX_NAMED + 1)}}, Reason.MCP_PARAMS_MALFORMED),
        ({"notifications": {"ToolsListChanged": True}}, Reason.MCP_KEY_CASE),
    ],
)
def test_what_cannot_be_read_is_refused(params: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        Subscription.of(called(params))
    assert caught.value.reason is reason


def test_it_is_narrowed_to_what_is_permitted() -> None:
    narrow = subscribed().narrowed(lambda _: False, lambda uri: uri == "demo://a")
    assert (narrow.lists, narrow.resources, narrow.tasks) == (frozenset(), ("demo://a",), ("t-1",))


# -- what is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notification", "included"),
    [
        (told(TOOLS), True),
        (told(PROMPTS), False),
        (told(TOOLS, 2), False),
        (told(TOOLS, "1"), False),
        (Notification(b"{}", TOOLS, None), False),
        (told("notifications/resources/updated", uri="demo://a"), True),
        (told("notifications/resources/updated", uri="demo://a/b"), True),
        (told("notifications/resources/updated", uri="demo://ab"), False),
        (told("notifications/resources/updated", uri="demo://dir/x"), True),
        (told("notifications/resources/updated"), False),
        (told("notifications/tasks", taskId="t-1"), True),
        (told("notifications/tasks", taskId="t-2"), False),
        (told("notifications/message"), False),
    ],
)
def test_only_what_was_asked_for_under_its_id_passes(notification: Notification, included: bool) -> None:
    passed = OfASubscription(subscribed()).notification(notification)
    assert passed == (notification.raw if included else b"")


def test_nobody_is_asked_anything() -> None:
    with pytest.raises(Refused) as caught:
        OfASubscription(subscribed()).request(Request(b"{}", 1, "ping", None))
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED


def test_an_acknowledgement_that_promises_no_more_passes_as_it_came() -> None:
    said = acknowledged(toolsListChanged=True, resourceSubscriptions=["demo://a"])
    assert subscribed().as_acknowledged(said) == said.raw


def test_an_acknowledgement_promises_nothing_that_will_not_pass() -> None:
    said = acknowledged(
        toolsListChanged=True, promptsListChanged=True, resourceSubscriptions=["demo://a", "b:"], x=[2**70]
    )
    document = json.loads(subscribed().as_acknowledged(said))
    assert document["params"]["notifications"] == {
        "toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": ["demo://a"],
        "x": [2**70],
    }  # fmt: skip
    assert document["params"]["_meta"] == {ID_KEY: 1}


@pytest.mark.parametrize("promised", [[], {"TASKIDS": []}])
def test_an_acknowledgement_that_cannot_be_read_is_refused(promised: Any) -> None:
    with pytest.raises(Refused) as caught:
        subscribed().as_acknowledged(told("notifications/subscriptions/acknowledged", notifications=promised))
    assert caught.value.reason is Reason.MCP_ANSWER_MALFORMED


# -- the stream ---------------------------------------------------------------------------------------------


def judge() -> SubscriptionJudge:
    subscription = subscribed()
    return SubscriptionJudge(subscription, lambda answer: answer.raw, OfASubscription(subscription))


def test_the_acknowledgement_comes_first_and_once() -> None:
    stream = judge()
    assert stream.notification(told(TOOLS)) == b""
    assert not stream.answered
    assert stream.notification(acknowledged(toolsListChanged=True)) != b""
    assert stream.answered
    assert stream.notification(told(TOOLS)) == told(TOOLS).raw
    assert stream.notification(acknowledged(toolsListChanged=True)) == b""


def test_it_may_end_once_it_was_acknowledged() -> None:
    stream = judge()
    with pytest.raises(Refused) as caught:
        stream.ended()
    assert caught.value.reason is Reason.MCP_ANSWER_MISSING
    stream.notification(acknowledged())
    stream.identified(b"e1")
    stream.ended()


def test_a_response_is_anothers_to_judge_and_ends_the_wait() -> None:
    stream = judge()
    answer = parse(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}')
    assert isinstance(answer, Response)
    assert stream.response(answer) == answer.raw
    stream.ended()


def test_a_request_ends_it() -> None:
    with pytest.raises(Refused):
        judge().request(Request(b"{}", 1, "ping", None))
