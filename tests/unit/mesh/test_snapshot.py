"""A snapshot is one identity, with everything computed from it; it holds as long as its SVID."""

from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from tests.exchange.playbook import CA, NOW, PLANNER, snapshot


def test_it_is_who_its_svid_says_and_signs_as_that() -> None:
    taken = snapshot(PLANNER)
    assert taken.spiffe_id == taken.signer.issuer == PLANNER.spiffe_id
    assert taken.tls.state is taken.identity


@pytest.mark.parametrize(
    ("after", "valid"),
    [(timedelta(), True), (timedelta(hours=1), False), (timedelta(seconds=-11), False)],
    ids=["now", "expired", "not yet"],
)
def test_it_is_valid_while_its_svid_is(after: timedelta, valid: bool) -> None:
    taken = snapshot(CA.issue())
    if valid:
        assert taken.valid_at(NOW + after) is taken
        return
    with pytest.raises(Refused) as caught:
        taken.valid_at(NOW + after)
    assert caught.value.reason is Reason.IDENTITY_UNAVAILABLE
