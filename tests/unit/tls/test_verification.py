"""A peer is whom its chain proves, by these bundles, now, if this list admits it; and for as long as that."""

from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet
from spiffe_mcp.tls import verify_peer
from tests.fakes.mini_ca import MiniCa
from tests.unit.tls.ends import ANYBODY_OF_A, NOW, allowed, bundles, ca

BOB = ca().issue("/bob")


def test_a_peer_has_its_id_its_chain_and_an_end() -> None:
    peer = verify_peer(BOB.chain_der, bundles(ca()), ANYBODY_OF_A, NOW)
    assert (peer.spiffe_id, peer.chain_der, peer.not_after) == (BOB.spiffe_id, BOB.chain_der, BOB.not_after)
    assert peer.leaf_der == BOB.chain_der[0]


def test_it_ends_with_the_first_of_its_certificates() -> None:
    """An intermediate that expires first takes the chain with it."""
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    short = ca().subordinate(lifetime=minute)
    svid = short.issue("/bob", lifetime=hour)
    peer = verify_peer(svid.chain_der, bundles(ca()), ANYBODY_OF_A, NOW)
    assert peer.not_after < svid.not_after


REFUSED: dict[str, tuple[dict[str, Any], Reason]] = {
    "the bundles do not know": ({"bundles": BundleSet()}, Reason.BUNDLE_UNKNOWN),
    "an authority is no more": ({"bundles": bundles(MiniCa("a.test", now=NOW))}, Reason.CHAIN_UNTRUSTED),
    "the list does not admit": ({"allowed": allowed("spiffe://a.test/alice")}, Reason.ID_NOT_AUTHORIZED),
    "nobody is admitted": ({"allowed": allowed()}, Reason.ID_NOT_AUTHORIZED),
    "its time is over": ({"now": BOB.not_after + timedelta(seconds=1)}, Reason.CERTIFICATE_EXPIRED),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED)
def test_nobody_is_there_whom(changes: dict[str, Any], reason: Reason) -> None:
    usual: dict[str, Any] = {"bundles": bundles(ca()), "allowed": ANYBODY_OF_A, "now": NOW}
    with pytest.raises(Refused) as caught:
        verify_peer(BOB.chain_der, **(usual | changes))
    assert caught.value.reason is reason
