"""An identity state is good for as long as its SVID is."""

from spiffe_mcp.identity import BundleSet
from spiffe_mcp.identity.state import IdentityState
from tests.fakes.mini_ca import HOUR, NOW, MiniCa


def test_a_state_is_valid_while_its_svid_is() -> None:
    state = IdentityState(MiniCa("a.test").issue(not_before=NOW, lifetime=HOUR), BundleSet())
    assert state.valid_at(NOW)
    assert not state.valid_at(NOW + 2 * HOUR)
