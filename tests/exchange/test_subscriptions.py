"""`subscriptions/listen`, bytes in and bytes out: each thing that is asked for is a question to policy."""

import json
from dataclasses import replace
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import ResponseHead
from spiffe_mcp.mcp.subscriptions import ID_KEY
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.granted import Permit, PolicyRefused
from spiffe_mcp.mesh.reading import lasts
from spiffe_mcp.policy import RegoPolicy
from tests.exchange.playbook import Ingress, crossed, message

STREAM = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
POLICY = RegoPolicy.compile({"p.rego": """\
package mcp.authz
default decision := {"allow": false}
decision := {"allow": true} if input.action in {"subscriptions/listen", "tools/list"}
decision := {"allow": true} if {
    input.action == "resources/read"
    input.resource == "demo://open"
}
visible_tools contains tool.name if some tool in input.tools
"""})  # fmt: skip


def side() -> Ingress:
    return replace(Ingress(), policy=POLICY)


def listens(at: Ingress, **wanted: Any) -> Permit:
    return at.admit(crossed(message("subscriptions/listen", {"notifications": wanted})))


def event(method: str, **params: Any) -> bytes:
    said = {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": {**params, "_meta": {ID_KEY: 1}}}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def acknowledged(**promised: Any) -> bytes:
    return event("subscriptions/acknowledged", notifications=promised)


WANTED: dict[str, Any] = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourceSubscriptions": ["demo://open", "demo://secret"],
}


def test_it_goes_on_as_it_came_and_lasts() -> None:
    permit = listens(side(), **WANTED)
    assert json.loads(permit.request.body)["params"]["notifications"] == WANTED
    assert lasts(permit.authenticated.inbound.asked)


def test_what_is_told_is_what_was_asked_for_and_is_permitted() -> None:
    at = side()
    permit = listens(at, **WANTED)
    changed: list[bool] = []
    behind = replace(at.behind(), changed=lambda: changed.append(True))
    passing = filter_for(permit, STREAM, behind)
    ack = passing.feed(acknowledged(**WANTED))
    assert json.loads(ack[6:])["params"]["notifications"] == {
        "toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": ["demo://open"],
    }  # fmt: skip
    for passed in (event("tools/list_changed"), event("resources/updated", uri="demo://open")):
        assert passing.feed(passed) == passed
    for withheld in (
        event("prompts/list_changed"),
        event("resources/list_changed"),
        event("resources/updated", uri="demo://secret"),
        event("message", level="info", data="psst"),
        acknowledged(**WANTED),
    ):
        assert b"data" not in passing.feed(withheld)
    assert passing.finish() == b""
    assert passing.answered
    assert changed  # what was listed before is not believed any more


def test_an_answer_in_place_of_a_stream_passes() -> None:
    at = side()
    passing = filter_for(
        listens(at, **WANTED), ResponseHead(200, ((b"content-type", b"application/json"),)), at.behind()
    )
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Subscription limit reached"}}'
    assert passing.feed(error) + passing.finish() == error


def test_an_end_of_the_servers_passes() -> None:
    at = side()
    passing = filter_for(listens(at, **WANTED), STREAM, at.behind())
    end = b'data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}\n\n'
    assert passing.feed(acknowledged() + end).endswith(end)
    assert passing.finish() == b""


def test_a_task_of_another_is_unknown() -> None:
    request = crossed(message("subscriptions/listen", {"notifications": {"taskIds": ["t-1"]}}))
    assert side().refuses(request) is Reason.MCP_TASK_UNKNOWN


def test_a_policy_that_grants_no_subscriptions_grants_none() -> None:
    at = Ingress()  # whose policy does not name the method
    request = crossed(message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
    assert isinstance(at.refused(request), PolicyRefused)


def test_a_stream_that_ends_before_it_is_acknowledged_is_missed() -> None:
    at = side()
    passing = filter_for(listens(at, **WANTED), STREAM, at.behind())
    passing.feed(event("tools/list_changed"))
    with pytest.raises(Refused) as caught:
        passing.finish()
    assert caught.value.reason is Reason.MCP_ANSWER_MISSING
