"""A link keeps every rule that it can keep by itself."""

from dataclasses import replace
from typing import Any

import pytest

from spiffe_mcp.context.claims import Claims
from spiffe_mcp.context.link import Link
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.links import good_claims

LINK = Link.from_claims(Claims(good_claims()))


def test_claims_survive_being_read_and_written() -> None:
    assert LINK.to_claims() == good_claims()
    assert LINK.particulars.lifetime == 60


def test_what_a_signer_says_with_every_link_is_read_once_and_the_rest_each_time() -> None:
    standing = LINK.standing.octets()
    first, second = (
        Link.read(replace(LINK.particulars, jti=jti, txn=jti).after(standing)) for jti in ("jti-1", "jti-2")
    )
    assert first.standing is second.standing
    assert first.standing == LINK.standing
    assert (first.particulars.jti, second.particulars.jti) == ("jti-1", "jti-2")


@pytest.mark.parametrize(
    "change",
    [
        {"jti": ""},
        {"jti": "a b"},
        {"txn": ""},
        {"txn": "a\n"},
        {"txn": "a" * 129},
        {"expires": 2**63},
        {"issued_at": -1},
    ],
)
def test_a_link_that_is_none_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        replace(LINK.particulars, **change)
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_a_link_lives_for_a_while() -> None:
    with pytest.raises(Refused) as refusal:
        replace(LINK.particulars, expires=LINK.particulars.issued_at)
    assert refusal.value.reason is Reason.CONTEXT_LIFETIME


@pytest.mark.parametrize(
    "change",
    [
        {"channel": b""},
        {"scope": ("",)},
        {"scope": ("a b",)},
        {"scope": ("a\\",)},
        {"scope": ("a",) * 65},
    ],
)
def test_standing_claims_that_are_none_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        replace(LINK.standing, **change)
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_no_scope_and_one_scope_are_written_apart() -> None:
    assert replace(LINK.standing, scope=()).to_claims()["scope"] == ""
    assert replace(LINK.standing, scope=("a",)).to_claims()["scope"] == "a"
