"""The input document is a contract: its members, their names, and what is absent."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from spiffe_mcp.policy.input import AgentInput, ContextInput, PolicyInput, ToolInput, UserInput

AGENT = AgentInput("spiffe://a.test/bot", "a.test", "/bot", ("spiffe://a.test/front",))
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


def test_the_whole_document_is_as_documented() -> None:
    """A change of this test is a change of the contract."""
    question = PolicyInput(
        action="tools/call",
        server="spiffe://a.test/crm",
        agent=AGENT,
        now=NOW,
        user=UserInput("alice", "https://idp.test", ("analysts",), {"department": "finance"}),
        tool=ToolInput("add", "sha256:00", "low", requires_approval=False, serial=3, signers=("k1",)),
        tools=(),
        arguments={"a": 1},
        resource="file:///x",
        prompt="p",
        context=ContextInput("t1", 2, "reporting", "q4", "s1", ("read",)),
        environment={"stage": "test"},
    )
    assert question.document() == {
        "version": "1",
        "action": "tools/call",
        "direction": "client_to_server",
        "server": "spiffe://a.test/crm",
        "agent": {
            "spiffe_id": "spiffe://a.test/bot",
            "trust_domain": "a.test",
            "path": "/bot",
            "chain": ["spiffe://a.test/front"],
        },
        "user": {
            "sub": "alice",
            "sub_iss": "https://idp.test",
            "groups": ["analysts"],
            "department": "finance",
        },
        "tool": {
            "name": "add",
            "digest": "sha256:00",
            "risk_level": "low",
            "requires_approval": False,
            "serial": 3,
            "signers": ["k1"],
        },
        "tools": [],
        "arguments": {"a": 1},
        "resource": "file:///x",
        "prompt": "p",
        "context": {
            "txn": "t1",
            "hops": 2,
            "purpose": "reporting",
            "task": "q4",
            "session": "s1",
            "scope": ["read"],
        },
        "time": {"now": "2026-11-23T06:30:00Z", "unix": 1795415400, "hour": 6, "weekday": "monday"},
        "environment": {"stage": "test"},
    }


def test_what_is_not_known_is_absent_and_not_null() -> None:
    """A rule about a user must be undefined, not true of null, where there is none."""
    document = PolicyInput("tools/list", "spiffe://a.test/crm", AGENT, NOW).document()
    assert document.keys() == {
        "version", "action", "direction", "server", "agent", "time", "environment",
    }  # fmt: skip


def test_a_context_without_purpose_has_no_purpose() -> None:
    """The same holds inside the parts."""
    assert ContextInput("t1", 1).document() == {"txn": "t1", "hops": 1, "scope": []}


def test_empty_arguments_are_present() -> None:
    """No arguments known, and no arguments given, are two things."""
    document = PolicyInput("tools/call", "s", AGENT, NOW, arguments={}).document()
    assert document["arguments"] == {}


def test_a_mapped_claim_cannot_stand_in_for_the_subject() -> None:
    """Verified members win over mapped claims of the same name."""
    forged = UserInput("alice", "iss", (), {"sub": "root", "sub_iss": "x", "groups": ["admins"]})
    assert forged.document() == {"sub": "alice", "sub_iss": "iss", "groups": []}


def test_the_time_is_utc_whatever_zone_it_came_in() -> None:
    """Business hours do not depend on where the node stands."""
    there = datetime(2026, 11, 22, 23, 59, 59, 900, tzinfo=timezone(timedelta(hours=-5)))
    assert PolicyInput("a", "s", AGENT, there).document()["time"] == {
        "now": "2026-11-23T04:59:59Z",
        "unix": 1795409999,
        "hour": 4,
        "weekday": "monday",
    }


def test_a_naive_time_is_a_programming_error() -> None:
    """It would be read in the node's own zone."""
    with pytest.raises(ValueError, match="not aware"):
        PolicyInput("a", "s", AGENT, NOW.replace(tzinfo=None))


def test_what_nobody_reads_is_not_built_and_the_rest_is_the_same() -> None:
    question = PolicyInput("ping", "spiffe://a.test/crm", AGENT, NOW, UserInput("alice", "https://idp.test"))
    whole = question.document()
    for member in whole:
        assert question.document({member}) == {member: whole[member]}
    assert question.document({"tool", "nothing"}) == {}
    assert question.document(()) == {}
