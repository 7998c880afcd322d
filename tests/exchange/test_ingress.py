"""Ingress, bytes in and bytes out: what a peer may send on, why it may not, and what is recorded of it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.context import ReplayGuard
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.identity import BundleSet
from spiffe_mcp.manifest import LiveView, compare, statement, verify_manifest
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh import ingress
from spiffe_mcp.mesh.granted import Hidden, PolicyRefused
from spiffe_mcp.mesh.refusal import Addressee, answer
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.policy import Decision, PolicyInput, RegoPolicy
from spiffe_mcp.strict_json import JsonObject
from spiffe_mcp.tables import LocalTable
from tests.exchange.playbook import (
    ALICE,
    CA,
    FOREIGN_CA,
    GUEST,
    LEGACY_HEADER,
    MANIFEST,
    NOW,
    PLANNER,
    PUBLISHER,
    REVIEWER,
    WEATHER,
    Ingress,
    call,
    crossed,
    delete,
    header,
    legacy,
    message,
    post,
    refused_by,
    snapshot,
    vouched,
    with_headers,
    without,
)
from tests.fakes import publisher


def policy(decision: str) -> RegoPolicy:
    """A policy that always says this."""
    return RegoPolicy.compile({"p.rego": f"package mcp.authz\ndecision := {decision}\n"})


# -- what goes on -------------------------------------------------------------------------------------------


def test_what_goes_on_are_the_very_bytes_that_the_client_sent() -> None:
    body = (
        b'{ "id":7, "x-unknown":[1.50, 1e2],"method":"tools/call",\n"jsonrpc":"2.0",'
        b'"params":{"arguments":{"city":"Z\\u00fcrich"},"name":"get_forecast"} }'
    )
    permit = Ingress().admit(crossed(post(body, LEGACY_HEADER)))
    assert permit.request.body == body


def test_a_call_goes_to_the_upstream_of_its_route() -> None:
    permit = Ingress().admit(crossed(call()))
    assert permit.request.target == b"/api/mcp"
    assert header(permit.request.headers, b"host") == b"127.0.0.1:9000"


def test_the_query_of_a_peer_goes_no_further() -> None:
    permit = Ingress().admit(replace(crossed(call()), target=b"/weather/mcp?admin=1"))
    assert permit.request.target == b"/api/mcp"


def test_exactly_these_headers_go_on() -> None:
    permit = Ingress().admit(crossed(call()))
    assert [name for name, _ in permit.request.headers] == [
        b"host", b"accept", b"content-type", b"mcp-protocol-version", b"mcp-method", b"mcp-name",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        b"authorization", b"cookie", b"forwarded", b"x-forwarded-for", b"x-forwarded-client-cert",
        b"l5d-client-id", b"mesh-user", b"x-mesh-user-context", b"x-user", b"accept-encoding",
    ],
)  # fmt: skip
def test_what_a_peer_says_of_identities_goes_no_further(name: bytes) -> None:
    """And neither does the context itself: the MCP server has no use for a token."""
    permit = Ingress().admit(with_headers(crossed(call()), (name, b"spiffe://mesh.test/root")))
    assert not {name, b"mesh-user-context"} & {name for name, _ in permit.request.headers}


GOES_ON = {
    "modern discovery": message("server/discover"),
    "a modern list": message("tools/list"),
    "a prompt": message("prompts/get", {"name": "hello", "arguments": {"who": "you"}}),
    "a resource": message("resources/read", {"uri": "demo://thing/ü"}),
    "initialize": legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}),
    "a notification": legacy("notifications/initialized", id=None),
    "a legacy list": legacy("tools/list", id=0),
    "a legacy call with the ID 0": legacy(
        "tools/call", {"name": "get_forecast", "arguments": {"city": "x"}}, id=0
    ),
    "a call without headers": post(b'{"jsonrpc":"2.0","id":"","method":"ping"}'),
    "a long resource": message("resources/read", {"uri": "demo://" + "x" * 2041}),
}


@pytest.mark.parametrize("request_", GOES_ON.values(), ids=GOES_ON)
def test_what_egress_lets_out_ingress_can_read(request_: Request) -> None:
    """One binding, built on both sides from what each of them has."""
    assert Ingress().admit(crossed(request_)).request.body == request_.body


def test_absent_arguments_are_none_and_validated_as_none() -> None:
    permits = replace(POLICY_ANY, live=Ingress().live)
    without_arguments = crossed(message("tools/call", {"name": "set_alert"}))
    assert permits.admit(without_arguments).decided.selected.tool is MANIFEST.manifest.tools["set_alert"]
    nothing = crossed(message("tools/call", {"name": "get_forecast"}))  # whose schema requires a city
    assert permits.refuses(nothing) is Reason.MANIFEST_ARGUMENTS_INVALID


POLICY_ANY = Ingress(policy=policy('{"allow": true}'))


# -- why not: what was sent ---------------------------------------------------------------------------------

TWICE = crossed(call())
UTF_7 = b"application/json; charset=utf-7"


def of_type(request: Request, kind: bytes) -> Request:
    """`request`, with a body that claims to be of this kind."""
    return with_headers(without(request, b"content-type"), (b"content-type", kind))


UNREADABLE = {
    "GET": (replace(crossed(call()), method=b"GET"), Reason.HTTP_METHOD),
    "HEAD": (replace(crossed(call()), method=b"HEAD", body=b""), Reason.HTTP_METHOD),
    "no context": (call(), Reason.CONTEXT_MISSING),
    "two contexts": (
        with_headers(TWICE, (b"mesh-user-context", header(TWICE.headers, b"mesh-user-context"))),
        Reason.CONTEXT_MALFORMED,
    ),
    "an empty context": (with_headers(call(), (b"mesh-user-context", b"")), Reason.CONTEXT_MALFORMED),
    "a context of noise": (with_headers(call(), (b"mesh-user-context", b"\xff\0")), Reason.CONTEXT_MALFORMED),
    "a context that is huge": (
        with_headers(call(), (b"mesh-user-context", b"a" * 16385)),
        Reason.CONTEXT_TOO_LARGE,
    ),
    "a chain": (
        with_headers(call(), (b"mesh-user-context", b"a~b")),
        Reason.CONTEXT_CHAIN_UNSUPPORTED,
    ),
    "a DELETE with a body": (vouched(delete(b"s", b"{}"), mcp_method=None), Reason.BODY_UNEXPECTED),
    "a batch": (replace(TWICE, body=b"[]"), Reason.MCP_BATCH),
    "two values of one key": (replace(TWICE, body=b'{"id":1,"id":2}'), Reason.JSON_DUPLICATE_KEY),
    "a body that UTF-7 makes another call": (of_type(crossed(call()), UTF_7), Reason.CONTENT_TYPE),
    "a body that a form parser would take": (
        of_type(crossed(call()), b"application/x-www-form-urlencoded"),
        Reason.CONTENT_TYPE,
    ),
    "a body of no type": (without(crossed(call()), b"content-type"), Reason.CONTENT_TYPE),
    "no Host": (without(crossed(call()), b"host"), Reason.HTTP_HOST),
    "two Hosts": (with_headers(crossed(call()), (b"host", b"b.test")), Reason.HTTP_HOST),
    "a name that no context holds": (
        with_headers(message("tools/call", {"name": "a\nb"}), (b"mesh-user-context", b"x")),
        Reason.REQUEST_UNBINDABLE,
    ),
}


@pytest.mark.parametrize(("request_", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(request_: Request, reason: Reason) -> None:
    assert Ingress().refuses(request_) is reason


# -- why not: who sent it -----------------------------------------------------------------------------------

LEGACY_CALL = legacy("tools/call", {"name": "get_forecast", "arguments": {"city": "Oslo"}})
OLD = CA.issue("/ns/agents/planner", not_before=NOW - timedelta(hours=2), lifetime=timedelta(hours=1))
STRANGER = FOREIGN_CA.issue("/ns/agents/planner")

FORGED = {
    "for another server": (vouched(call(), audience=PLANNER.spiffe_id), Reason.CONTEXT_AUDIENCE),
    "for another body": (
        replace(crossed(call()), body=call().body.replace(b"Oslo", b"Rome")),
        Reason.CONTEXT_BINDING_BODY,
    ),
    "for another tool": (vouched(call(), mcp_name="set_alert"), Reason.CONTEXT_BINDING_MCP),
    "for another method": (
        vouched(call(), mcp_method="tools/list", mcp_name=None),
        Reason.CONTEXT_BINDING_MCP,
    ),
    "for another HTTP method": (vouched(call(), method="DELETE"), Reason.CONTEXT_BINDING_METHOD),
    "for another path": (
        vouched(call(), uri="https://node-2.mesh.test:8443/other/mcp"),
        Reason.CONTEXT_BINDING_URI,
    ),
    "for another host": (vouched(call(), uri="https://evil.test/weather/mcp"), Reason.CONTEXT_BINDING_URI),
    "with an unencrypted URI": (
        vouched(call(), uri="http://node-2.mesh.test:8443/weather/mcp"),
        Reason.CONTEXT_BINDING_URI,
    ),
    "by somebody who is not the peer": (vouched(call(), svid=REVIEWER), Reason.CONTEXT_PEER_MISMATCH),
    "by an earlier SVID of the peer": (
        vouched(call(), svid=CA.issue("/ns/agents/planner")),
        Reason.CONTEXT_SIGNER_MISMATCH,
    ),
    "by an SVID that has expired": (vouched(call(), svid=OLD), Reason.CONTEXT_CERTIFICATE),
    "by a namesake of another trust domain": (vouched(call(), svid=STRANGER), Reason.CONTEXT_PEER_MISMATCH),
    "of an unknown trust domain": (
        vouched(call(), svid=type(CA)("c.test", now=NOW).issue("/x")),
        Reason.CONTEXT_CERTIFICATE,
    ),
    "for a workload that the peer does not speak for": (
        vouched(call(), caller=REVIEWER.spiffe_id),
        Reason.CONTEXT_ACTOR,
    ),
    "before its time": (vouched(call(), now=NOW + timedelta(seconds=31)), Reason.CONTEXT_NOT_YET_VALID),
    "after its time": (vouched(call(), now=NOW - timedelta(seconds=90)), Reason.CONTEXT_EXPIRED),
}


@pytest.mark.parametrize(("request_", "reason"), FORGED.values(), ids=FORGED)
def test_a_context_that_was_signed_otherwise_is_refused(request_: Request, reason: Reason) -> None:
    assert Ingress().refuses(request_) is reason


def test_a_signature_that_was_touched_is_refused() -> None:
    request = crossed(call())
    context = header(request.headers, b"mesh-user-context")
    head, payload, signature = context.split(b".")
    touched = b".".join((head, payload, (b"A" if signature[:1] != b"A" else b"B") + signature[1:]))
    forged = with_headers(without(request, b"mesh-user-context"), (b"mesh-user-context", touched))
    assert Ingress().refuses(forged) is Reason.CONTEXT_SIGNATURE


def test_a_context_is_good_once() -> None:
    side, request = Ingress(), crossed(call())
    side.admit(request)
    assert side.refuses(request) is Reason.CONTEXT_REPLAYED


def test_a_context_that_did_not_hold_uses_up_nothing() -> None:
    """Else a stranger could spend the name of a context that its owner has yet to send."""
    side = Ingress()
    assert side.refuses(vouched(call(), jti="j", svid=REVIEWER)) is Reason.CONTEXT_PEER_MISMATCH
    assert side.refuses(vouched(call(), jti="j", audience=PLANNER.spiffe_id)) is Reason.CONTEXT_AUDIENCE
    side.admit(vouched(call(), jti="j"))


def test_a_context_is_spent_by_a_call_that_policy_refuses() -> None:
    side, request = Ingress(), crossed(call("set_alert"))
    assert side.refuses(request) is Reason.POLICY_DENIED
    assert side.refuses(request) is Reason.CONTEXT_REPLAYED


def test_two_peers_may_use_one_name_for_their_contexts() -> None:
    side = Ingress()
    side.admit(vouched(call(), jti="j"))
    side.admit(vouched(call(), jti="j", svid=REVIEWER), of=REVIEWER)


def test_a_memory_that_is_full_refuses_rather_than_forgets() -> None:
    side = Ingress(memory=replace(Ingress().memory, replay=ReplayGuard(LocalTable(1))))
    side.admit(crossed(call()))
    assert side.refuses(crossed(call())) is Reason.CONTEXT_REPLAY_FULL


def test_an_authority_that_was_revoked_since_the_handshake_signs_no_context() -> None:
    side = Ingress(snapshot=snapshot(WEATHER, BundleSet.from_der({"mesh.test": [], "b.test": []})))
    assert side.refuses(crossed(call())) is Reason.CONTEXT_CERTIFICATE


def test_a_signer_that_was_good_a_moment_ago_ends_with_its_authority_and_with_its_svid() -> None:
    side = Ingress()
    side.admit(crossed(call()))
    assert side.refuses(crossed(call()), now=NOW + timedelta(hours=2)) is Reason.CONTEXT_CERTIFICATE
    side.snapshot = snapshot(WEATHER, BundleSet.from_der({"mesh.test": [], "b.test": []}))
    assert side.refuses(crossed(call())) is Reason.CONTEXT_CERTIFICATE


# -- why not: whose session it is ---------------------------------------------------------------------------


def in_session(request: Request, session: bytes = b"s-1") -> Request:
    return with_headers(request, (b"mcp-session-id", session))


def opened(session: bytes = b"s-1", **differently: Any) -> Ingress:
    """An ingress at which the planner, for Alice, has opened a session, unless somebody else has."""
    owner = Owner(PLANNER.spiffe_id, PLANNER.spiffe_id, ALICE.sub, ALICE.sub_iss)
    side = Ingress()
    side.memory.sessions.opened(session, replace(owner, **differently), NOW)
    return side


@pytest.mark.parametrize("session", [b"s-1", b"0", b"~" * 512, b"a,b", b"'\"<>"])
def test_a_session_is_for_whom_it_was_opened(session: bytes) -> None:
    permit = opened(session).admit(crossed(in_session(LEGACY_CALL, session)))
    assert header(permit.request.headers, b"mcp-session-id") == session
    assert permit.authenticated.session == session


@pytest.mark.parametrize(
    "other",
    [
        {"peer": REVIEWER.spiffe_id},
        {"caller": REVIEWER.spiffe_id},
        {"sub": "bob"},
        {"sub_iss": "https://idp.b.test"},
    ],
    ids=str,
)
def test_a_session_of_somebody_else_does_not_exist(other: dict[str, Any]) -> None:
    """The same refusal as for one that never was."""
    hijacked = opened(**other).refused(crossed(in_session(LEGACY_CALL)))
    unheard_of = Ingress().refused(crossed(in_session(LEGACY_CALL)))
    assert (hijacked.reason, hijacked.detail) == (unheard_of.reason, unheard_of.detail)
    assert hijacked.reason is Reason.SESSION_UNKNOWN


@pytest.mark.parametrize("session", [b"", b"S-1", b"s-1\xff", b"s-2"])
def test_a_session_id_is_compared_octet_by_octet(session: bytes) -> None:
    assert opened().refuses(crossed(in_session(LEGACY_CALL, session))) is Reason.SESSION_UNKNOWN


def test_a_session_is_ended_by_its_owner() -> None:
    permit = opened().admit(crossed(delete(b"s-1")))
    assert (permit.request.method, permit.request.target, permit.request.body) == (
        b"DELETE",
        b"/api/mcp",
        b"",
    )


@pytest.mark.parametrize(
    "request_",
    [delete(), delete(b"s-2"), with_headers(delete(b"s-1"), (b"mcp-session-id", b"s-1"))],
    ids=["none", "another's", "two"],
)
def test_nothing_but_a_session_of_ones_own_can_be_ended(request_: Request) -> None:
    assert opened().refuses(crossed(request_)) is Reason.SESSION_UNKNOWN


def test_ending_a_session_is_asked_of_policy_too() -> None:
    side = replace(opened(), policy=policy('{"allow": input.action != "session/end"}'))
    assert side.refuses(crossed(delete(b"s-1"))) is Reason.POLICY_DENIED


# -- why not: what is called --------------------------------------------------------------------------------


def listing(*tools: JsonObject) -> LiveView:
    return compare(MANIFEST.manifest, tools, protocol_version="2025-11-25")


FORECAST, ALERT = publisher.tools()
HIDDEN = {
    "never heard of": (listing(FORECAST, ALERT), "nope", Reason.MCP_TOOL_UNKNOWN),
    "not listed live": (listing(ALERT), "get_forecast", Reason.MCP_TOOL_UNKNOWN),
    "in another case": (listing(FORECAST, ALERT), "Get_Forecast", Reason.MCP_TOOL_UNKNOWN),
    "not signed": (listing({**FORECAST, "name": "new"}), "new", Reason.MANIFEST_TOOL_UNSIGNED),
    "changed": (listing({**FORECAST, "description": "!"}), "get_forecast", Reason.MANIFEST_TOOL_CHANGED),
    "listed twice": (listing(FORECAST, FORECAST), "get_forecast", Reason.MANIFEST_TOOL_DUPLICATE),
}


@pytest.mark.parametrize(("live", "tool", "reason"), HIDDEN.values(), ids=HIDDEN)
def test_a_tool_that_is_not_the_signed_one_is_not_called(live: LiveView, tool: str, reason: Reason) -> None:
    """Whatever policy says."""
    assert replace(Ingress(live=live), policy=POLICY_ANY.policy).refuses(crossed(call(tool))) is reason


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (publisher.ISSUED - timedelta(seconds=31), Reason.MANIFEST_NOT_YET_VALID),
        (publisher.EXPIRES, Reason.MANIFEST_EXPIRED),
    ],
)
@pytest.mark.parametrize(
    "request_", [call(), message("tools/list"), legacy("ping")], ids=["call", "list", "ping"]
)
def test_without_a_manifest_in_force_nothing_is_called(now: Any, reason: Reason, request_: Request) -> None:
    """Not even what names no tool. Asked at each exchange: a manifest is used for long."""
    ca = type(CA)("mesh.test", now=now)
    caller = ca.issue("/ns/agents/planner")
    trust = BundleSet.from_der({"mesh.test": ca.bundle_der})
    side = Ingress(snapshot=snapshot(ca.issue(publisher.SERVER.path), trust))
    assert side.refuses(vouched(request_, svid=caller, now=now), of=caller, now=now) is reason


# -- why not: policy ----------------------------------------------------------------------------------------

DECISIONS = {
    "no": ('{"allow": false}', Reason.POLICY_DENIED),
    "nothing": ('{"allow": true} if input.action == "x"', Reason.POLICY_UNDEFINED),
    "a bare true": ("true", Reason.POLICY_DECISION_MALFORMED),
    "a text": ('{"allow": "true"}', Reason.POLICY_DECISION_MALFORMED),
    "yes, if": ('{"allow": true, "obligations": {"redact": ["city"]}}', Reason.POLICY_OBLIGATION_UNKNOWN),
    "yes and more": ('{"allow": true, "alow": false}', Reason.POLICY_DECISION_MALFORMED),
}


@pytest.mark.parametrize(("decision", "reason"), DECISIONS.values(), ids=DECISIONS)
def test_whatever_is_no_clear_permission_is_a_refusal(decision: str, reason: Reason) -> None:
    refused = Ingress(policy=policy(decision)).refused(crossed(call()))
    assert isinstance(refused, PolicyRefused)
    assert (refused.reason, refused.decision.allow) == (reason, False)


def test_what_policy_cannot_be_asked_it_cannot_allow() -> None:
    """A number that the engine would round."""
    side = Ingress(policy=policy('{"allow": input.arguments.days != 0}'))
    assert side.refuses(crossed(call(city="x", days=2**70))) is Reason.POLICY_INPUT_NUMBER


class Asked:
    """A policy that allows everything and remembers what it was asked."""

    version, digest = "v", "sha256:0"

    def __init__(self) -> None:
        self.questions: list[PolicyInput] = []

    def decide(self, question: PolicyInput) -> Decision:
        self.questions.append(question)
        return Decision(allow=True)

    def visible_tools(self, question: PolicyInput) -> frozenset[str]:
        assert question == self.questions[-1]
        return frozenset({"set_alert", "nope"})


def test_policy_is_asked_with_what_was_verified() -> None:
    asked = Asked()
    Ingress(policy=asked).admit(crossed(call(city="Oslo", days=2)))
    tool = MANIFEST.manifest.tools["get_forecast"]
    assert asked.questions[0].document() == {
        "version": "1",
        "action": "tools/call",
        "direction": "client_to_server",
        "server": "spiffe://mesh.test/ns/tools/sa/weather",
        "agent": {
            "spiffe_id": "spiffe://mesh.test/ns/agents/planner",
            "trust_domain": "mesh.test",
            "path": "/ns/agents/planner",
            "chain": ["spiffe://mesh.test/ns/agents/planner"],
        },
        "time": {"now": "2026-11-23T00:00:00Z", "unix": 1795392000, "hour": 0, "weekday": "monday"},
        "environment": {"name": "test"},
        "user": {
            "sub": "alice",
            "sub_iss": "https://idp.mesh.test",
            "groups": ["research"],
            "purpose": "report",
            "task": "t-7",
        },
        "tool": {
            "name": "get_forecast",
            "digest": tool.digest,
            "risk_level": "low",
            "requires_approval": False,
            "serial": 42,
            "signers": ["publisher"],
        },
        "context": {"purpose": "report", "task": "t-7", "txn": "txn-1", "hops": 1, "scope": []},
        "arguments": {"city": "Oslo", "days": 2},
    }


@pytest.mark.parametrize(
    ("request_", "member", "value"),
    [
        (message("prompts/get", {"name": "hello"}), "prompt", "hello"),
        (message("resources/read", {"uri": "demo://ü"}), "resource", "demo://ü"),
    ],
)
def test_policy_is_asked_by_prompt_and_by_resource(request_: Request, member: str, value: str) -> None:
    asked = Asked()
    Ingress(policy=asked).admit(crossed(request_))
    question = asked.questions[0].document()
    assert question[member] == value
    assert {"prompt", "resource", "tool", "tools"} & question.keys() == {member}


def test_a_list_shows_what_is_exposed_and_visible_and_nothing_else() -> None:
    """Policy is asked once, about signed tools; a name that it makes up shows nothing."""
    asked = Asked()
    permit = Ingress(policy=asked, live=listing(ALERT)).admit(crossed(message("tools/list")))
    assert permit.decided.visible == {"set_alert": MANIFEST.manifest.tools["set_alert"]}
    (question,) = asked.questions
    assert [tool.name for tool in question.tools or ()] == ["set_alert"]


def test_a_list_shows_a_guest_nothing() -> None:
    assert Ingress().admit(crossed(message("tools/list"), GUEST)).decided.visible == {}


def test_arguments_are_held_to_the_signed_schema() -> None:
    assert Ingress().refuses(crossed(call(town="Oslo"))) is Reason.MANIFEST_ARGUMENTS_INVALID


def test_a_complaint_about_arguments_tells_nobody_of_a_tool_hidden_from_him() -> None:
    refused = Ingress().refused(crossed(call(town="Oslo"), GUEST))
    assert isinstance(refused, Hidden)
    assert not isinstance(Ingress().refused(crossed(call(town="Oslo"))), Hidden)


def test_no_argument_is_another_spelling_of_one_that_policy_reads() -> None:
    """To a Go server `City` is `city`, and the last one counts."""
    schema: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}}
    definition: JsonObject = {"name": "lookup", "inputSchema": schema}
    sealed = publisher.seal(statement.write(publisher.manifest([definition])), PUBLISHER)
    trust = publisher.policy(publisher=PUBLISHER)
    ingress = Ingress(
        manifest=(manifest := verify_manifest(sealed, trust, publisher.SERVER, NOW)),
        live=compare(manifest.manifest, [definition], protocol_version="2026-07-28"),
        policy=policy('{"allow": true} if input.arguments.city == "Oslo"'),
    )
    ingress.admit(crossed(call("lookup", city="Oslo", town="x")))
    for twin in ("City", "c\u0131ty"):
        refused = ingress.refused(crossed(call("lookup", **{"city": "Oslo", twin: "Bergen"})))
        assert refused.reason is Reason.MCP_KEY_CASE


def test_a_policy_that_cannot_say_what_is_visible_does_not_tell_that_a_tool_exists() -> None:
    """A peer names the user, and so could make the policy fail: a quote is a text that the engine lacks."""
    unspeakable = replace(ALICE, groups=("research", 'a"b'))
    for tool in ("get_forecast", "no_such_tool"):
        request = crossed(call(tool, town="Oslo"), unspeakable)
        head, body = answer(Ingress().refused(request), Addressee.of(request))
        assert head.status == 200
        assert json.loads(body)["error"] == {"code": -32602, "message": f"Unknown tool: {tool}"}


# -- the order ----------------------------------------------------------------------------------------------


def test_the_phases_come_in_their_order() -> None:
    """A request with a fault in every phase, mended one by one: each time the next phase speaks."""
    faulty = Ingress(live=listing(), manifest=MANIFEST, policy=POLICY_ANY.policy)
    bad_arguments = in_session(legacy("tools/call", {"name": "get_forecast", "arguments": {}}))
    signed = vouched(bad_arguments)
    denying = policy('{"allow": false}')
    mine = Owner(PLANNER.spiffe_id, PLANNER.spiffe_id, ALICE.sub, ALICE.sub_iss)

    def met(side: Ingress, request: Request) -> Reason:
        return side.refuses(request)

    unsigned = without(signed, b"mesh-user-context")
    assert met(faulty, replace(unsigned, method=b"PUT", body=b"[]")) is Reason.HTTP_METHOD
    assert met(faulty, replace(unsigned, body=b"[]")) is Reason.CONTEXT_MISSING
    forged = with_headers(unsigned, (b"mesh-user-context", b"x"))
    assert met(faulty, replace(forged, body=b"[]")) is Reason.MCP_BATCH
    assert met(faulty, forged) is Reason.CONTEXT_MALFORMED
    assert met(faulty, signed) is Reason.SESSION_UNKNOWN
    assert met(faulty, signed) is Reason.CONTEXT_REPLAYED  # asked before the session
    faulty.memory.sessions.opened(b"s-1", mine, NOW)
    assert met(replace(faulty, policy=denying), vouched(bad_arguments)) is Reason.MCP_TOOL_UNKNOWN
    live = replace(faulty, live=listing(FORECAST), policy=denying)
    assert met(live, vouched(bad_arguments)) is Reason.MANIFEST_ARGUMENTS_INVALID
    assert met(live, vouched(in_session(LEGACY_CALL))) is Reason.POLICY_DENIED
    allowing = replace(live, policy=POLICY_ANY.policy)
    allowing.admit(vouched(in_session(LEGACY_CALL)))


# -- the record ---------------------------------------------------------------------------------------------


def test_the_record_of_a_call_says_all_that_was_learned_and_no_value() -> None:
    side = Ingress()
    side.admit(crossed(call(city="Oslo")))
    last = side.log.last
    assert last == {
        "time": "2026-11-23T00:00:00.000Z",
        "exchange": last["exchange"],
        "kind": "exchange",
        "side": "ingress",
        "txn": "txn-1",
        "caller": "spiffe://mesh.test/ns/agents/planner",
        "chain": ["spiffe://mesh.test/ns/agents/planner"],
        "user": "alice",
        "user_iss": "https://idp.mesh.test",
        "action": "tools/call",
        "server": "spiffe://mesh.test/ns/tools/sa/weather",
        "tool": "get_forecast",
        "tool_digest": MANIFEST.manifest.tools["get_forecast"].digest,
        "manifest_serial": 42,
        "parameters": {"city": "string"},
        "parameters_digest": last["parameters_digest"],
        "decision": "allow",
        "rule": "forecasts",
        "policy_version": side.policy.version,
        "policy_digest": side.policy.digest,
        "justification": "researchers may ask for the weather",
        "outcome": "completed",
    }


def test_a_value_stands_in_a_record_only_if_the_operator_asked_for_it() -> None:
    side = Ingress(shown=frozenset({"city"}))
    side.admit(crossed(call(city="Oslo", days=2)))
    assert side.log.last["parameters"] == {"city": "Oslo", "days": "number"}


def test_both_sides_record_one_transaction_under_one_name() -> None:
    side = Ingress()
    side.admit(crossed(call()))
    assert side.log.last["txn"] == "txn-1"


ASKED = {"action", "tool", "parameters"}
WHO = {"caller", "chain", "user", "txn"}
WHAT = {"tool_digest", "manifest_serial", "rule"}
KNOWN = {
    "nothing": (replace(crossed(call()), body=b"["), set()),
    "what was asked": (vouched(call(), audience=PLANNER.spiffe_id), ASKED),
    "and who": (vouched(call("nope")), ASKED | WHO),
    "and of which tool": (vouched(call("set_alert")), ASKED | WHO | WHAT),
}


@pytest.mark.parametrize(("request_", "known"), KNOWN.values(), ids=KNOWN)
def test_the_record_of_a_refusal_says_what_was_verified_by_then_and_no_more(
    request_: Request, known: set[str]
) -> None:
    side = Ingress()
    refused = side.refused(request_)
    assert side.log.last.keys() & (ASKED | WHO | WHAT) == known
    assert side.log.last["reason"] == refused.reason.code
    assert (side.log.last["decision"], side.log.last["outcome"]) == ("refuse", "refused")


def test_what_policy_said_stands_in_the_record_of_its_refusal() -> None:
    side = Ingress()
    side.refuses(crossed(call("set_alert")))
    last = side.log.last
    assert (last["rule"], last["justification"]) == ("alerts", "no alerts for researchers")
    assert (last["reason"], last["policy_digest"]) == ("policy.denied", side.policy.digest)


def test_a_call_that_the_schema_did_not_allow_is_recorded_as_refused_before_policy_was_asked() -> None:
    side = Ingress()
    side.refuses(crossed(call(town="Oslo")))
    last = side.log.last
    assert (last["decision"], last["reason"]) == ("refuse", "manifest.arguments_invalid")
    assert "rule" not in last


def test_no_record_of_any_refusal_holds_a_token_or_a_value() -> None:
    side = Ingress()
    hostile = [*UNREADABLE.values(), *FORGED.values()]
    for request, _ in hostile:
        side.refused(request)
    written = json.dumps([record.document() for record in side.log.records])
    assert len(side.log.records) == len(hostile)
    assert "Oslo" not in written
    for request, _ in hostile:
        for name, value in request.headers:
            if name == b"mesh-user-context" and len(value) > 40:
                assert value[-40:].decode() not in written


def test_ending_a_session_is_recorded_as_such() -> None:
    side = opened()
    side.admit(crossed(delete(b"s-1")))
    assert side.log.last["action"] == "session/end"


def test_a_refusal_by_policy_carries_the_decision() -> None:
    refused: Refused = Ingress().refused(crossed(call("set_alert")))
    assert isinstance(refused, PolicyRefused)
    assert refused.decision.message == "Alerts are not part of your subscription."


# -- headers that mirror arguments, and the oldest era that is spoken ---------------------------------------


def mirrored_tool() -> JsonObject:
    region: JsonObject = {"type": "string", "x-mcp-header": "Region"}
    return {"name": "get_forecast", "inputSchema": {"type": "object", "properties": {"region": region}}}


def mirroring() -> Ingress:
    """An ingress before a server whose signed tool declares `Mcp-Param-Region`."""
    listed = [mirrored_tool()]
    envelope = publisher.seal(statement.write(publisher.manifest(listed)), PUBLISHER)
    trust = publisher.policy(publisher=PUBLISHER)
    verified = verify_manifest(envelope, trust, publisher.SERVER, NOW)
    return Ingress(manifest=verified, live=compare(verified.manifest, listed, protocol_version="2026-07-28"))


def test_a_call_whose_headers_mirror_its_arguments_goes_on_with_them() -> None:
    sent = with_headers(call(region="eu"), (b"mcp-param-region", b"eu"), (b"mcp-param-x", b"y"))
    permit = mirroring().admit(crossed(sent))
    assert header(permit.request.headers, b"mcp-param-region") == b"eu"
    assert header(permit.request.headers, b"mcp-param-x") == b"y"


@pytest.mark.parametrize("headers", [(), ((b"mcp-param-region", b"us"),)])
def test_a_call_whose_headers_say_something_else_is_refused(headers: Any) -> None:
    sent = crossed(with_headers(call(region="eu"), *headers))
    refused = mirroring().refused(sent)
    assert refused.reason is Reason.MCP_PARAM_HEADER_MISMATCH
    head, body = answer(refused, Addressee.of(sent))
    assert (head.status, json.loads(body)["error"]["code"]) == (400, -32020)


def test_whoever_may_not_see_the_tool_is_not_told_of_its_headers() -> None:
    refused = mirroring().refused(crossed(call(region="eu"), GUEST))
    assert isinstance(refused, Hidden)


def test_a_legacy_call_has_no_mirrors() -> None:
    arguments = {"name": "get_forecast", "arguments": {"region": "eu"}}
    sent = crossed(legacy("tools/call", arguments))
    assert mirroring().admit(sent).request.body == sent.body


def test_no_era_before_the_minimum_is_read() -> None:
    old, new = crossed(legacy("tools/list")), crossed(message("tools/list"))
    assert ingress.read(new, Era.MODERN).call
    refused = refused_by(lambda: ingress.read(old, Era.MODERN))
    assert refused.reason is Reason.MCP_ERA_BELOW_MINIMUM
    head, body = answer(refused, Addressee.of(old))
    error = json.loads(body)["error"]
    assert (head.status, error["code"]) == (400, -32022)
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2025-11-25"}
