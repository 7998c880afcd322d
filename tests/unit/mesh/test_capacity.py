"""What may be open at once fits into the descriptors there are, or the agent does not start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.capacity import Capacity


def test_where_there_are_enough_nothing_is_cut_down() -> None:
    full = Capacity()
    needed = full.descriptors(listeners=2, pools=3)
    assert Capacity.within(needed, listeners=2, pools=3) == full
    assert Capacity.within(needed - 2, listeners=2, pools=3) != full


@given(st.integers(0, 20_000), st.integers(1, 4), st.integers(1, 40))
def test_it_never_takes_on_more_than_there_is(descriptors: int, listeners: int, pools: int) -> None:
    try:
        capacity = Capacity.within(descriptors, listeners=listeners, pools=pools)
    except Refused as refused:
        assert refused.reason is Reason.DESCRIPTORS_TOO_FEW  # noqa: PT017  the other outcome
        return
    assert min(capacity.connections, capacity.handshakes) >= 16
    assert capacity.idle >= 1
    # One idle connection in each pool is kept, whatever there is: the next call needs it anyway.
    assert capacity.descriptors(listeners=listeners, pools=pools) <= descriptors + pools


def test_with_too_few_it_says_how_many_are_needed() -> None:
    with pytest.raises(Refused) as refused:
        Capacity.within(64, listeners=1, pools=1)
    assert refused.value.detail == "64; at least 256 are needed"
    assert Capacity.within(256, listeners=1, pools=1).handshakes == 16
