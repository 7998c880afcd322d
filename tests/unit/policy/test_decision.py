"""A decision is a permission or a refusal, whatever the engine answered."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.decision import MAX_TEXT, Decision, Visibility
from spiffe_mcp.strict_json import JsonValue


def test_a_full_answer_is_read_into_its_fields() -> None:
    """Every documented member has its place."""
    decision = Decision.parse(
        {
            "allow": False,
            "reason": "no licence",
            "rule": "licensed",
            "visibility": "offered",
            "message": "ask your sales contact",
            "obligations": {},
        }
    )
    assert decision == Decision(
        allow=False,
        refusal=Reason.POLICY_DENIED,
        reason="no licence",
        rule="licensed",
        visibility=Visibility.OFFERED,
        message="ask your sales contact",
    )


def test_allow_alone_is_a_permission_that_shows_nothing() -> None:
    """The optional members default to the safe side."""
    decision = Decision.parse({"allow": True})
    assert decision.allow
    assert decision.refusal is None
    assert decision.visibility is Visibility.HIDDEN


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        1,
        "allow",
        [],
        [{"allow": True}],
        {},
        {"reason": "no allow"},
        {"allow": 1},
        {"allow": "true"},
        {"allow": None},
        {"allow": [True]},
        {"allow": True, "reason": None},
        {"allow": True, "rule": 7},
        {"allow": True, "message": ["x"]},
        {"allow": True, "reason": "x" * (MAX_TEXT + 1)},
        {"allow": True, "visibility": "shown"},
        {"allow": True, "visibility": None},
        {"allow": True, "visibility": ["hidden"]},
        {"allow": True, "visibility": {}},
        {"allow": True, "obligations": None},
        {"allow": True, "obligations": ["redact"]},
        {"allow": True, "obligation": {}},
        {"allow": True, "Allow": False},
        {"allow": True, "": 1},
    ],
)
def test_an_answer_of_any_other_shape_refuses(answer: JsonValue) -> None:
    """What is not exactly the documented shape is no permission."""
    decision = Decision.parse(answer)
    assert not decision.allow
    assert decision.refusal is Reason.POLICY_DECISION_MALFORMED


def test_a_permission_under_an_obligation_is_refused_because_nobody_would_enforce_it() -> None:
    """Fail closed: no obligation is implemented."""
    decision = Decision.parse({"allow": True, "obligations": {"redact": ["email"]}})
    assert not decision.allow
    assert decision.refusal is Reason.POLICY_OBLIGATION_UNKNOWN
    assert decision.detail == "redact"


def test_a_refusal_may_carry_obligations() -> None:
    """They change nothing: the call is not made."""
    assert Decision.parse({"allow": False, "obligations": {"x": 1}}).refusal is Reason.POLICY_DENIED


@pytest.mark.parametrize(("allow", "refusal"), [(True, Reason.POLICY_DENIED), (False, None)])
def test_a_decision_is_never_both_nor_neither(allow: bool, refusal: Reason | None) -> None:
    """The constructor admits no contradiction."""
    with pytest.raises(Refused) as caught:
        Decision(allow=allow, refusal=refusal)
    assert caught.value.reason is Reason.POLICY_DECISION_MALFORMED


def test_a_permission_with_obligations_cannot_be_constructed() -> None:
    """Not only the parser knows the rule."""
    with pytest.raises(Refused) as caught:
        Decision(allow=True, obligations={"limits": 1})
    assert caught.value.reason is Reason.POLICY_OBLIGATION_UNKNOWN
