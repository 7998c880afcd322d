"""Which SVID is meant."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.wanted import MAX_HINT, ByHint, ById, FirstOffered

W = SpiffeId.parse("spiffe://a.test/w")


def test_the_first_is_met_by_any() -> None:
    assert FirstOffered().is_met_by("spiffe://a.test/x", "")


@pytest.mark.parametrize(
    ("offered", "met"),
    [("spiffe://a.test/w", True), ("spiffe://a.test/W", False), ("spiffe://a.test/w/", False), ("", False)],
)
def test_an_id_is_met_by_itself_alone_whatever_the_hint(offered: str, met: bool) -> None:
    assert ById(W).is_met_by(offered, "internal") is met


@pytest.mark.parametrize(("offered", "met"), [("internal", True), ("Internal", False), ("", False)])
def test_a_hint_is_met_by_itself_alone_whatever_the_id(offered: str, met: bool) -> None:
    assert ByHint("internal").is_met_by("spiffe://a.test/w", offered) is met


@pytest.mark.parametrize("hint", ["", "two\nlines", "x" * (MAX_HINT + 1), "\u00e4" * MAX_HINT])
def test_a_hint_that_no_entry_can_have_is_refused(hint: str) -> None:
    with pytest.raises(Refused) as refused:
        ByHint(hint)
    assert refused.value.reason is Reason.SVID_HINT
    assert "\n" not in refused.value.detail


def test_each_says_what_it_wants() -> None:
    said = [str(wanted) for wanted in (FirstOffered(), ById(W), ByHint("internal"))]
    assert said == ["the first SVID", "spiffe://a.test/w", "an SVID with the hint 'internal'"]
