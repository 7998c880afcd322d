"""A change is told to whom policy lets see what changed, and of tools the ingress takes note itself."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mcp.judge import WITHHELD
from spiffe_mcp.mcp.notifications import CHANGES
from spiffe_mcp.mesh.changes import OfVisible
from spiffe_mcp.policy import RegoPolicy
from tests.exchange.playbook import GUEST, Ingress, crossed, legacy

READ_A = "notifications/resources/updated", {"uri": "file:///a"}
POLICY = """\
package mcp.authz
default decision := {"allow": false}
decision := {"allow": true} if input.action in {"ping", "tools/call"}
decision := {"allow": true} if {
    input.action in {"prompts/list", "resources/list", "tools/list"}
    "research" in input.user.groups
}
decision := {"allow": true} if {
    input.action == "resources/read"
    input.resource == "file:///a"
    "research" in input.user.groups
}
"""


class Everything:
    """Lets everything be said."""

    def notification(self, notification: Notification) -> bytes:
        return notification.raw

    def request(self, request: Request) -> bytes:
        return request.raw


@dataclass
class Stream:
    """The stream of a ping of Alice's, or of the guest's."""

    guest: bool = False
    rego: str = POLICY
    changes: list[None] = field(default_factory=list)

    def told(self, method: str, params: Any = None) -> bool:
        side = Ingress(policy=RegoPolicy.compile({"p.rego": POLICY}))
        asked = legacy("ping")
        permit = side.admit(crossed(asked, GUEST) if self.guest else crossed(asked))
        side.policy = RegoPolicy.compile({"p.rego": self.rego})
        behind = side.behind(changed=lambda: self.changes.append(None))
        judge = OfVisible(Everything(), permit, behind)
        said = judge.notification(Notification(json.dumps(method).encode(), method, params))
        assert said in (WITHHELD, json.dumps(method).encode())
        return said != WITHHELD


@pytest.mark.parametrize("method", [method for method in CHANGES if method != READ_A[0]])
def test_a_list_that_changed_is_news_for_whom_may_have_it(method: str) -> None:
    assert Stream().told(method)
    assert not Stream(guest=True).told(method)


def test_a_resource_that_changed_is_news_for_whom_may_read_it() -> None:
    assert Stream().told(*READ_A)
    assert not Stream(guest=True).told(*READ_A)
    assert not Stream().told(READ_A[0], {"uri": "file:///b"})


@pytest.mark.parametrize("params", [None, {}, {"uri": 7}, {"uri": None}])
def test_of_a_resource_without_a_name_nobody_is_told(params: Any) -> None:
    allows_all = 'package mcp.authz\ndecision := {"allow": true}\n'
    assert not Stream(rego=allows_all).told(READ_A[0], params)


def test_it_is_the_word_of_this_moment() -> None:
    assert not Stream(rego='package mcp.authz\ndecision := {"allow": false}\n').told(*READ_A)


def test_a_policy_that_cannot_answer_permits_nothing() -> None:
    assert not Stream(rego='package mcp.authz\ndecision := {"allow": true, "x": 1}\n').told(*READ_A)


@pytest.mark.parametrize("guest", [False, True])
def test_tools_that_changed_are_listed_again_whoever_is_told(guest: bool) -> None:
    stream = Stream(guest)
    stream.told("notifications/tools/list_changed")
    assert len(stream.changes) == 1
    stream.told("notifications/prompts/list_changed")
    stream.told("notifications/message")
    assert len(stream.changes) == 1


def test_what_is_no_change_is_not_asked_about() -> None:
    assert Stream(guest=True).told("notifications/progress")
    side = Ingress()
    judge = OfVisible(Everything(), side.admit(crossed(legacy("ping"))), side.behind())
    assert judge.request(Request(b"raw", 1, "ping", None)) == b"raw"
