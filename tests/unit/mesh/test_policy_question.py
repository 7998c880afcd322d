"""The question of a client, and the same the other way round."""

from spiffe_mcp.mcp import Request
from spiffe_mcp.mesh.policy_question import decide_asked, question_of
from spiffe_mcp.policy import RegoPolicy
from tests.exchange.playbook import NOW, Ingress, call, crossed

DECIDED = Ingress().admit(crossed(call(city="Oslo"))).decided
SAMPLING = Request(b"{}", 1, "sampling/createMessage", {"maxTokens": 5})


def test_a_client_asks_with_its_own_words() -> None:
    document = question_of(DECIDED.selected, "test", NOW).document()
    assert (document["action"], document["direction"]) == ("tools/call", "client_to_server")
    assert document["arguments"] == {"city": "Oslo"}


def test_a_server_asks_those_who_called_it_by_the_tool_they_called() -> None:
    policy = RegoPolicy.compile({"p.rego": """\
package mcp.authz
default decision := {"allow": false}
decision := {"allow": true} if {
    input.direction == "server_to_client"
    input.action == "sampling/createMessage"
    input.arguments.maxTokens < 10
    input.tool.name == "get_forecast"
    input.user.sub == "alice"
}
"""})  # fmt: skip
    assert decide_asked(DECIDED, SAMPLING, policy=policy, environment="test", now=NOW).allow
    larger = Request(b"{}", 1, "sampling/createMessage", {"maxTokens": 50})
    assert not decide_asked(DECIDED, larger, policy=policy, environment="test", now=NOW).allow
