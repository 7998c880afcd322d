"""Whoever asks, asks the newest list; and an empty one admits nobody."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.mesh.authorized import Authorized

BOB = SpiffeId.parse("spiffe://a.test/bob")


def test_the_newest_list_counts() -> None:
    authorized = Authorized(AllowedIds((IdPattern.exactly(BOB),)))
    authorized.authorize(BOB)
    authorized.allowed = AllowedIds()
    with pytest.raises(Refused) as caught:
        authorized.authorize(BOB)
    assert caught.value.reason is Reason.ID_NOT_AUTHORIZED
