"""A decision is remembered for the very question that it was made for, and by the policy that made it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.policy.input import AgentInput, PolicyInput, UserInput
from spiffe_mcp.policy.memory import MAX_KEY_BYTES, DecisionMemory, key_of
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.strict_json import JsonObject, JsonValue

ALLOWED: Final = Decision(allow=True, rule="r")
QUESTION: Final = PolicyInput(
    action="tools/call",
    server="spiffe://a.test/crm",
    agent=AgentInput("spiffe://a.test/bot", "a.test", "/bot"),
    user=UserInput("alice", "https://idp.a.test", groups=("analysts",)),
    now=datetime(2026, 11, 23, 6, 30, tzinfo=UTC),
    arguments={"rows": 1},
)


def policy(condition: str) -> RegoPolicy:
    return RegoPolicy.compile(
        {
            "a.rego": f"""package mcp.authz
import rego.v1

default decision := {{"allow": false}}

decision := {{"allow": true}} if {{
    {condition}
}}
"""
        }
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[JsonObject]:
    """Every question that reached an engine."""
    seen: list[JsonObject] = []
    ask = RegoPolicy._ask

    def counting(self: RegoPolicy, entry_point: str, visible: JsonObject) -> JsonValue:
        seen.append(visible)
        return ask(self, entry_point, visible)

    monkeypatch.setattr(RegoPolicy, "_ask", counting)
    return seen


def test_what_was_kept_is_found_under_its_key_alone() -> None:
    memory = DecisionMemory()
    memory.keep(b"k", ALLOWED)
    assert memory.get(b"k") is ALLOWED
    assert memory.get(b"l") is None
    assert memory.get(None) is None


def test_there_is_never_more_than_was_allowed() -> None:
    memory = DecisionMemory(capacity=2)
    for key in (b"a", b"b", b"c"):
        memory.keep(key, ALLOWED)
    assert (len(memory), memory.get(b"a")) == (2, None)


def test_a_failure_of_the_engine_is_not_kept_and_a_refusal_is() -> None:
    memory = DecisionMemory()
    memory.keep(b"failed", Decision.refused(Refused(Reason.POLICY_ERROR)))
    denied = Decision(allow=False, refusal=Reason.POLICY_DENIED)
    memory.keep(b"denied", denied)
    assert (memory.get(b"failed"), memory.get(b"denied")) == (None, denied)


def test_a_question_without_a_key_is_not_kept() -> None:
    memory = DecisionMemory()
    memory.keep(key_of({"text": "x" * MAX_KEY_BYTES}), ALLOWED)
    assert len(memory) == 0


def test_values_that_python_takes_for_equal_have_keys_of_their_own() -> None:
    alike: list[JsonValue] = [1, True, 1.0, "1", 0, False, 0.0, -0.0, None, float("nan"), [], {}, [1], [True]]
    assert len({key_of({"x": value}) for value in alike}) == len(alike)


def test_equal_questions_have_one_key_however_they_were_made() -> None:
    once, again = b"analysts".decode(), b"analysts".decode()
    assert key_of({"x": [once, once]}) == key_of({"x": [once, again]}) == key_of({"x": ["analysts"] * 2})


@pytest.mark.parametrize("value", [{"x": {"set"}}, {"x": object()}], ids=["a set", "no JSON"])
def test_what_is_no_json_has_a_key_of_its_own_or_none(value: JsonObject) -> None:
    assert key_of(value) != key_of({"x": ["set"]})


def test_a_question_is_asked_once(asked: list[JsonObject]) -> None:
    analysts = policy('"analysts" in input.user.groups')
    later = replace(QUESTION, now=QUESTION.now + timedelta(hours=9), arguments={"rows": 2})
    assert analysts.decide(QUESTION) == analysts.decide(later) == Decision(allow=True)
    assert len(asked) == 1


def test_whatever_the_policy_can_see_makes_another_question(asked: list[JsonObject]) -> None:
    office_hours = policy("input.time.hour < 9\n    input.arguments.rows < 100")
    hour, rows = {"now": QUESTION.now + timedelta(hours=9)}, {"arguments": {"rows": 100}}
    allowed = [office_hours.decide(replace(QUESTION, **change)).allow for change in ({}, hour, rows)]
    assert allowed == [True, False, False]
    assert len(asked) == 3


def test_a_group_that_was_taken_from_a_user_counts_at_once() -> None:
    analysts = policy('"analysts" in input.user.groups')
    assert analysts.decide(QUESTION).allow
    assert not analysts.decide(replace(QUESTION, user=UserInput("alice", "https://idp.a.test"))).allow


def test_another_policy_decides_anew() -> None:
    assert policy('input.action == "tools/call"').decide(QUESTION).allow
    assert not policy('input.action == "tools/list"').decide(QUESTION).allow


def test_a_policy_that_may_look_at_anything_is_still_right() -> None:
    whole = policy('some key, value in input\n    key == "action"\n    value == "tools/call"')
    assert [whole.decide(QUESTION).allow for _ in range(2)] == [True, True]
    assert not whole.decide(replace(QUESTION, action="tools/list")).allow
