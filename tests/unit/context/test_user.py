"""A user is bounded in every dimension and survives the wire unchanged."""

import json
from dataclasses import fields
from math import inf, nan
from typing import Any

import pytest

from spiffe_mcp.context.claims import Claims
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused

EVERYTHING: dict[str, Any] = {
    "sub": "alice",
    "sub_iss": "https://idp.a.test",
    "groups": ("research", "eu"),
    "department": "Analyse & Prüfung",
    "role": "analyst",
    "clearance": "secret",
    "session": "s-1",
    "purpose": "quarterly report",
    "task": "t-1",
    "approvals": ("ap-1", "ap-2"),
    "acr": "urn:mfa",
    "amr": ("pwd", "otp"),
    "auth_time": 1_780_000_000,
    "risk_score": 12.5,
    "data_classification": "confidential",
    "compliance_frameworks": ("GDPR", "SOX"),
}


def test_every_field_survives_the_wire() -> None:
    assert set(EVERYTHING) == {field.name for field in fields(User)}
    user = User(**EVERYTHING)
    assert User.from_claims(Claims(json.loads(json.dumps(user.to_claims())))) == user


def test_subject_and_issuer_are_all_that_is_needed() -> None:
    user = User("alice", "https://idp.a.test")
    assert user.to_claims() == {"sub": "alice", "sub_iss": "https://idp.a.test", "user": {}}
    assert User.from_claims(Claims(user.to_claims())) == user


def test_a_risk_of_zero_and_an_epoch_of_zero_are_said() -> None:
    claims = User("alice", "https://idp.a.test", risk_score=0, auth_time=0).to_claims()
    assert claims["user"] == {"risk_score": 0, "auth_time": 0}


def test_a_user_does_not_show_in_logs() -> None:
    assert "alice" not in repr(User(**EVERYTHING))
    assert "analyst" not in str(User(**EVERYTHING))


@pytest.mark.parametrize("name", [name for name, value in EVERYTHING.items() if isinstance(value, str)])
@pytest.mark.parametrize("text", ["", "a\nb", "x" * 257, "\ud800"])
def test_every_text_is_checked(name: str, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        User(**{**EVERYTHING, name: text})
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED
    assert name in refusal.value.detail


@pytest.mark.parametrize("name", [name for name, value in EVERYTHING.items() if isinstance(value, tuple)])
@pytest.mark.parametrize("texts", [("",), ("a\nb",), ("x",) * 65])
def test_every_list_is_checked(name: str, texts: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        User(**{**EVERYTHING, name: texts})
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED
    assert name in refusal.value.detail


@pytest.mark.parametrize("risk", [nan, inf, -inf, -1, 101])
def test_a_risk_beyond_the_scale_is_refused(risk: float) -> None:
    with pytest.raises(Refused) as refusal:
        User("alice", "https://idp.a.test", risk_score=risk)
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_a_user_as_a_whole_is_bounded() -> None:
    User("alice", "https://idp.a.test", groups=("g" * 200,) * 19)
    with pytest.raises(Refused) as refusal:
        User("alice", "https://idp.a.test", groups=("g" * 200,) * 20)
    assert refusal.value.reason is Reason.CONTEXT_TOO_LARGE
