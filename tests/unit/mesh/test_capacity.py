"""What may be open at once fits into the descriptors there are, or the agent does not start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.capacity import Capacity, Shape


@pytest.mark.parametrize("shape", [Shape(2, 3), Shape(2, 3, node=True)])
def test_where_there_are_enough_nothing_is_cut_down(shape: Shape) -> None:
    full = Capacity()
    needed = full.descriptors(shape)
    assert Capacity.within(needed, shape) == full
    assert Capacity.within(needed - 3, shape) != full


def test_a_node_counts_the_processes_that_it_watches() -> None:
    """One pidfd for each workload, and one for each local connection, which half of all may be."""
    full, shape = Capacity(), Shape(2, 3)
    of_a_node = full.descriptors(Shape(2, 3, node=True))
    assert of_a_node - full.descriptors(shape) == full.workloads + full.connections // 2


@given(st.integers(0, 20_000), st.builds(Shape, st.integers(1, 4), st.integers(1, 40), node=st.booleans()))
def test_it_never_takes_on_more_than_there_is(descriptors: int, shape: Shape) -> None:
    try:
        capacity = Capacity.within(descriptors, shape)
    except Refused as refused:
        assert refused.reason is Reason.DESCRIPTORS_TOO_FEW  # noqa: PT017  the other outcome
        return
    assert min(capacity.connections, capacity.handshakes) >= 16
    assert capacity.idle >= 1
    # One idle connection in each pool is kept, whatever there is: the next call needs it anyway.
    assert capacity.descriptors(shape) <= descriptors + shape.pools


def test_with_too_few_it_says_how_many_are_needed() -> None:
    with pytest.raises(Refused) as refused:
        Capacity.within(64, Shape(1, 1))
    assert refused.value.detail == "64; at least 256 are needed"
    assert Capacity.within(256, Shape(1, 1)).handshakes == 16
