"""What is minted is what the next hop verifies, and nothing is minted that no one would."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from spiffe_mcp.context.limits import DEFAULT_LIMITS
from spiffe_mcp.context.minting import Delegation, Signer, mint
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.links import (
    BINDING,
    CA,
    ISSUED_AT,
    NOW,
    PLANNER,
    WEATHER,
    accept,
    good_claims,
    good_header,
    hop_of,
)

ALICE = User(
    "alice",
    "https://idp.a.test",
    groups=("research", "eu"),
    role="analyst",
    risk_score=12.5,
    auth_time=ISSUED_AT,
)
DELEGATION = Delegation(
    ALICE, PLANNER.spiffe_id, ("tools:call", "tools:list"), "9f1c2a52-6a5f-4b57-8f6c-0f6f1f5d2f10"
)
SIGNER = Signer.of(PLANNER)


def minted(delegation: Delegation = DELEGATION, **arguments: Any) -> str:
    expected = {"signer": SIGNER, "audience": WEATHER, "binding": BINDING, "jti": "jti-1", "now": NOW}
    return mint(delegation, **{**expected, **arguments})


def test_header_and_claims_are_those_of_the_format() -> None:
    header = minted()
    assert jwt.get_unverified_header(header) == good_header()
    signed = jwt.PyJWS().decode(header, PLANNER.key.public_key(), algorithms=["ES256"])
    assert json.loads(signed) == good_claims()


@pytest.mark.parametrize("key_kind", ["p256", "p384", "rsa2048"])
def test_what_is_minted_is_verified(key_kind: str) -> None:
    svid = CA.subordinate().issue("/ns/agents/planner", key_kind=key_kind)
    context = accept(minted(signer=Signer.of(svid)), hop=hop_of(svid))
    assert (context.user, context.caller, context.scope, context.txn, context.jti) == (
        ALICE, DELEGATION.caller, DELEGATION.scope, DELEGATION.txn, "jti-1",
    )  # fmt: skip


def test_what_is_said_with_every_link_is_written_once_for_each_of_whom_it_is_said() -> None:
    signer = Signer.of(PLANNER)
    standing = signer.standing(WEATHER, DELEGATION)
    assert signer.standing(WEATHER, replace(DELEGATION, txn="another")) is standing
    for other in (
        signer.standing(PLANNER.spiffe_id, DELEGATION),
        signer.standing(WEATHER, replace(DELEGATION, user=replace(ALICE, role=None))),
        signer.standing(WEATHER, replace(DELEGATION, caller=WEATHER)),
        signer.standing(WEATHER, replace(DELEGATION, scope=())),
        Signer.of(CA.issue("/ns/agents/planner")).standing(WEATHER, DELEGATION),
    ):
        assert other != standing


def test_a_link_holds_for_a_minute_from_the_whole_second() -> None:
    context = accept(minted(now=NOW + timedelta(seconds=0.9)))
    assert context.expires == datetime.fromtimestamp(ISSUED_AT + 60, UTC) + DEFAULT_LIMITS.clock_skew


def test_the_longest_lifetime_is_verified_and_a_longer_one_not_minted() -> None:
    assert accept(minted(ttl=timedelta(seconds=300))).issuer == PLANNER.spiffe_id
    with pytest.raises(Refused) as refusal:
        minted(ttl=timedelta(seconds=300, microseconds=1))
    assert refusal.value.reason is Reason.CONTEXT_LIFETIME


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=0.9), timedelta(seconds=-60), timedelta.min])
def test_a_lifetime_of_nothing_is_not_minted(ttl: timedelta) -> None:
    with pytest.raises(Refused) as refusal:
        minted(ttl=ttl)
    assert refusal.value.reason in {Reason.CONTEXT_LIFETIME, Reason.CONTEXT_CLAIM_MALFORMED}


def test_a_malformed_jti_is_not_minted() -> None:
    with pytest.raises(Refused) as refusal:
        minted(jti="a\nb")
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_the_largest_of_everything_fits_and_a_longer_chain_is_not_minted() -> None:
    full = User("alice", "https://idp.a.test", groups=("g" * 200,) * 19)
    largest = replace(DELEGATION, user=full)
    wordy = replace(BINDING, uri="u" * 2048, mcp_name="n" * 2048)
    assert accept(minted(largest, binding=wordy), binding=wordy).user == full
    svid = CA.subordinate(dns=["x" * 60 + ".test"] * 200).issue("/ns/agents/planner")
    with pytest.raises(Refused) as refusal:
        minted(largest, signer=Signer.of(svid))
    assert refusal.value.reason is Reason.CONTEXT_TOO_LARGE


def test_a_signer_shows_no_key() -> None:
    assert "key" not in repr(SIGNER).lower()
