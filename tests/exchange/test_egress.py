"""Egress, bytes in and bytes out: what a workload may send, in whose name it goes, and what is dropped."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Request
from spiffe_mcp.identity import IdPattern, SpiffeId
from spiffe_mcp.mcp import Call, Era
from spiffe_mcp.mesh import egress
from tests.exchange.playbook import (
    ALICE,
    CA,
    EGRESS_ROUTE,
    LEGACY_HEADER,
    NOW,
    PLANNER,
    Egress,
    call,
    delete,
    header,
    legacy,
    message,
    post,
    refused_by,
    with_headers,
    without,
)


def claims(request: Request) -> dict[str, Any]:
    """What the context of an outbound request says."""
    payload = header(request.headers, b"mesh-user-context").split(b".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + b"=="))
    return said


def test_the_body_goes_out_as_the_very_bytes_that_came() -> None:
    """White space, order of keys, escapes and unknown members: nothing is written anew."""
    body = b'{ "id":7,"x":[1.50, 1e2], "method":"ping",\n "jsonrpc":"2.0","params":{"a":"\\u00e9\xc3\xa9"}}'
    sent = Egress().admit(post(body, LEGACY_HEADER))
    assert sent.request.body == body


def test_a_call_goes_to_its_route_and_to_nobody_else() -> None:
    """The path is the route's, the query is dropped, the Host is the ingress's own."""
    sent = Egress().admit(replace(call(), target=b"/weather/mcp?token=1"))
    assert sent.request.target == b"/weather/mcp"
    assert header(sent.request.headers, b"host") == b"node-2.mesh.test:8443"
    assert sent.route is EGRESS_ROUTE


def test_a_context_says_who_calls_for_whom_whom_and_what() -> None:
    sent = Egress().admit(call())
    said = claims(sent.request)
    assert said["iss"] == str(PLANNER.spiffe_id)
    assert said["act"] == {"sub": str(PLANNER.spiffe_id)}
    assert said["aud"] == str(EGRESS_ROUTE.server)
    assert (said["sub"], said["sub_iss"]) == ("alice", "https://idp.mesh.test")
    assert said["user"] == {"groups": ["research"], "purpose": "report", "task": "t-7"}
    assert (said["htm"], said["htu"]) == ("POST", "https://node-2.mesh.test:8443/weather/mcp")
    assert said["mcp"] == {"method": "tools/call", "name": "get_forecast"}
    assert (said["iat"], said["txn"]) == (int(NOW.timestamp()), sent.txn)


SERVERS = IdPattern.parse("spiffe://mesh.test/mcp/*")
INSTANCE = SpiffeId.parse("spiffe://mesh.test/mcp/weather-2")


def test_by_a_pattern_the_context_is_for_the_server_that_the_hop_has_proved_and_for_no_other() -> None:
    side = Egress(route=replace(EGRESS_ROUTE, server=SERVERS), server=INSTANCE)
    sent = side.admit(call())
    assert claims(sent.request)["aud"] == str(INSTANCE)
    assert sent.server == INSTANCE
    assert side.log.last["server"] == str(INSTANCE)


@pytest.mark.parametrize(
    "other", ["spiffe://mesh.test/bank", "spiffe://mesh.test/mcp/a/b", "spiffe://other.test/mcp/weather-2"]
)
def test_nothing_is_signed_for_a_server_that_the_route_does_not_name(other: str) -> None:
    """A hop may have been opened when the route named more."""
    side = Egress(route=replace(EGRESS_ROUTE, server=SERVERS), server=SpiffeId.parse(other))
    assert side.refuses(call()) is Reason.ID_NOT_AUTHORIZED
    assert side.log.last["server"] == str(SERVERS)


def test_every_exchange_has_a_context_of_its_own() -> None:
    side = Egress()
    first, second = side.admit(call()), side.admit(call())
    assert claims(first.request)["jti"] != claims(second.request)["jti"]


IDENTITIES = (
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"forwarded",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-client-cert",
    b"x-forwarded-host",
    b"x-real-ip",
    b"x-api-key",
    b"l5d-client-id",
    b"mesh-user-context",
    b"mesh-anything",
    b"mesh_user_context",
    b"x-mesh-user-context",
    b"client-cert",
    b"tailscale-user-login",
)


@pytest.mark.parametrize("name", IDENTITIES)
def test_what_a_workload_says_of_identities_never_goes_out(name: bytes) -> None:
    forged = with_headers(call(), (name, b"spiffe://mesh.test/root"))
    sent = Egress().admit(forged)
    assert all(b"/root" not in value for _, value in sent.request.headers)


def test_nothing_that_changes_the_form_of_an_answer_goes_out() -> None:
    """What is filtered has to be readable; connection headers belong to one connection."""
    names = (b"accept-encoding", b"range", b"connection", b"upgrade", b"te", b"expect", b"if-none-match")
    sent = Egress().admit(with_headers(call(), *((name, b"gzip") for name in names)))
    assert not {name for name, _ in sent.request.headers} & set(names)


def test_exactly_these_headers_go_out() -> None:
    passing = (
        (b"user-agent", b"inspector"),
        (b"traceparent", b"00-1-2-01"),
        (b"mcp-param-region", b"=?base64?w7w=?="),
        (b"mcp-session-id", b"s-1"),
        (b"accept-language", b"de-\xe4"),
    )
    sent = Egress().admit(with_headers(legacy("ping"), *passing))
    names = [name for name, _ in sent.request.headers]
    assert names == [
        b"host", b"accept", b"content-type", b"mcp-protocol-version",
        b"user-agent", b"traceparent", b"mcp-param-region", b"mcp-session-id", b"accept-language",
        b"mesh-user-context",
    ]  # fmt: skip
    assert header(sent.request.headers, b"accept-language") == b"de-\xe4"


@pytest.mark.parametrize(
    "request_",
    [
        legacy("ping", id=0),
        legacy("ping", id=""),
        legacy("ping", id=-1),
        legacy("notifications/initialized", id=None),
    ],
    ids=["zero", "empty", "negative", "none"],
)
def test_any_id_that_json_rpc_allows_goes_out(request_: Request) -> None:
    assert Egress().admit(request_).request.body == request_.body


def test_ending_a_session_goes_out_bound_to_its_method_and_to_no_body() -> None:
    sent = Egress().admit(delete(b"s-1"))
    said = claims(sent.request)
    assert (sent.request.method, sent.request.body) == (b"DELETE", b"")
    assert (said["htm"], said["mcp"]) == ("DELETE", {})
    assert header(sent.request.headers, b"mcp-session-id") == b"s-1"


def named(name: str) -> Request:
    return message("tools/call", {"name": name})


def read(uri: str) -> Request:
    return message("resources/read", {"uri": uri})


@pytest.mark.parametrize(
    "request_",
    [
        named("x" * 2048),
        named("wetter_für_zürich"),
        named("天気"),
        named("a tool"),
        read("file:///ü/\N{SNOWMAN}.txt"),
        read("demo://" + "x" * 2041),
    ],
    ids=["long", "umlauts", "japanese", "blank", "resource", "long resource"],
)
def test_names_that_can_be_signed_go_out_and_are_signed(request_: Request) -> None:
    said = json.loads(request_.body)["params"]
    assert claims(Egress().admit(request_).request)["mcp"]["name"] == said.get("name", said.get("uri"))


REFUSED = {
    "GET": (replace(call(), method=b"GET"), Reason.HTTP_METHOD),
    "HEAD": (replace(call(), method=b"HEAD", body=b""), Reason.HTTP_METHOD),
    "PUT": (replace(call(), method=b"PUT"), Reason.HTTP_METHOD),
    "OPTIONS": (replace(call(), method=b"OPTIONS"), Reason.HTTP_METHOD),
    "a DELETE with a body": (delete(b"s", call().body), Reason.BODY_UNEXPECTED),
    "no body": (post(b""), Reason.JSON_MALFORMED),
    "a batch": (post(b"[" + legacy("ping").body + b"]", LEGACY_HEADER), Reason.MCP_BATCH),
    "a key twice": (post(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}'), Reason.JSON_DUPLICATE_KEY),
    "a key in another case": (post(b'{"jsonrpc":"2.0","id":1,"Method":"ping"}'), Reason.MCP_KEY_CASE),
    "not UTF-8": (post(b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}'), Reason.JSON_NOT_UTF8),
    "compressed": (post(b"\x1f\x8b\x08\x00"), Reason.JSON_NOT_UTF8),
    "a lone surrogate": (
        post(b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', LEGACY_HEADER),
        Reason.JSON_SURROGATE,
    ),
    "a response": (
        post(b'{"jsonrpc":"2.0","id":1,"result":{}}', LEGACY_HEADER),
        Reason.MCP_RESPONSE_UNEXPECTED,
    ),
    "an unknown method": (legacy("tasks/update"), Reason.MCP_METHOD_UNKNOWN),
    "modern words in a legacy method": (message("initialize"), Reason.MCP_METHOD_UNKNOWN),
    "two sessions": (
        with_headers(legacy("ping"), (b"mcp-session-id", b"a"), (b"mcp-session-id", b"b")),
        Reason.MCP_HEADER_DUPLICATE,
    ),
    "a header that differs": (replace(call("set_alert"), headers=call().headers), Reason.MCP_HEADER_MISMATCH),
    "a header that is missing": (without(call(), b"mcp-name"), Reason.MCP_HEADER_MISSING),
    "a modern body without its header": (
        without(call(), b"mcp-protocol-version"),
        Reason.MCP_VERSION_MISMATCH,
    ),
    "an unknown version": (
        post(legacy("ping").body, (b"mcp-protocol-version", b"2099-01-01")),
        Reason.MCP_VERSION_UNSUPPORTED,
    ),
    "a call without an ID": (legacy("tools/call", {"name": "x"}, id=None), Reason.MCP_REQUEST_WITHOUT_ID),
    "a name that no context holds": (named("x" * 2049), Reason.REQUEST_UNBINDABLE),
    "a name of 2049 bytes": (named("\N{SNOWMAN}" * 683), Reason.REQUEST_UNBINDABLE),
    "a name with a line break": (named("a\nb"), Reason.REQUEST_UNBINDABLE),
    "a name with NUL": (named("a\0"), Reason.REQUEST_UNBINDABLE),
    "a name that turns direction": (named("a\N{RIGHT-TO-LEFT OVERRIDE}b"), Reason.REQUEST_UNBINDABLE),
    "an escape sequence": (read("demo://\x1b[2J"), Reason.REQUEST_UNBINDABLE),
    "a name longer than MCP is read": (named("x" * 4097), Reason.MCP_PARAMS_MALFORMED),
    "an empty name": (named(""), Reason.MCP_PARAMS_MALFORMED),
}


@pytest.mark.parametrize(("request_", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_go_out(request_: Request, reason: Reason) -> None:
    assert Egress().refuses(request_) is reason


def test_no_refusal_blames_the_caller_for_a_fault_of_its_own_side() -> None:
    """What a caller sent is its mistake (4xx); whatever it sends, it is never the agent's fault (5xx)."""
    assert {reason.status // 100 for _, reason in REFUSED.values()} == {4}


@pytest.mark.parametrize(
    "svid",
    [
        CA.issue("/w", not_before=NOW - timedelta(hours=2), lifetime=timedelta(hours=1)),
        CA.issue("/w", not_before=NOW + timedelta(hours=1)),
    ],
    ids=["expired", "not yet valid"],
)
def test_without_a_valid_svid_nothing_goes_out(svid: Any) -> None:
    assert Egress(svid=svid).refuses(call()) is Reason.IDENTITY_UNAVAILABLE


def test_an_svid_holds_to_its_last_second_and_no_longer() -> None:
    svid = CA.issue("/w")
    Egress(svid=svid).admit(call(), now=svid.not_after)
    late = refused_by(lambda: Egress(svid=svid).admit(call(), now=svid.not_after + timedelta(seconds=1)))
    assert late.reason is Reason.IDENTITY_UNAVAILABLE


def test_a_user_with_everything_goes_out_whole() -> None:
    user = replace(
        ALICE, department="d", role="r", clearance="c", session="s", approvals=("a1", "a2"), acr="2",
        amr=("otp",), auth_time=1, risk_score=0.5, data_classification="internal",
        compliance_frameworks=("gdpr",),
    )  # fmt: skip
    assert claims(Egress(user=user).admit(call()).request)["user"] == user.attributes()


def test_a_user_too_large_for_the_header_cannot_even_be_configured() -> None:
    refused = refused_by(lambda: User("u", "i", groups=tuple(f"{n:0250}" for n in range(20))))
    assert refused.reason is Reason.CONTEXT_TOO_LARGE


# -- the record ---------------------------------------------------------------------------------------------


def test_the_record_of_a_call_says_who_whom_and_what_and_no_value() -> None:
    side = Egress()
    side.admit(call(city="Oslo"))
    assert side.log.last == {
        "time": "2026-11-23T00:00:00.000Z",
        "exchange": side.log.last["exchange"],
        "kind": "exchange",
        "side": "egress",
        "txn": "txn-1",
        "caller": "spiffe://mesh.test/ns/agents/planner",
        "user": "alice",
        "user_iss": "https://idp.mesh.test",
        "action": "tools/call",
        "server": "spiffe://mesh.test/ns/tools/sa/weather",
        "tool": "get_forecast",
        "parameters": {"city": "string"},
        "parameters_digest": side.log.last["parameters_digest"],
        "decision": "allow",
        "outcome": "completed",
    }


def test_the_record_of_what_could_not_be_read_says_why_and_nothing_of_its_content() -> None:
    side = Egress()
    side.refuses(post(b'{"secret": "s3cr3t", "secret": 1}'))
    assert (side.log.last["decision"], side.log.last["reason"]) == ("refuse", "json.duplicate_key")
    assert "action" not in side.log.last
    assert "s3cr3t" not in json.dumps(side.log.last)


def test_the_record_of_what_was_read_and_then_refused_says_what_it_was() -> None:
    side = Egress()
    side.refuses(named("a\nb"))
    last = side.log.last
    assert (last["action"], last["user"], last["reason"]) == (
        "tools/call",
        "alice",
        "mesh.request_unbindable",
    )
    assert "caller" not in last


def test_no_era_before_the_minimum_goes_out() -> None:
    assert isinstance(egress.read(message("tools/list"), Era.MODERN), Call)
    refused = refused_by(lambda: egress.read(legacy("initialize"), Era.MODERN))
    assert refused.reason is Reason.MCP_ERA_BELOW_MINIMUM
