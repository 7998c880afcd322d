"""What `scripts/fuzz` runs for hours, for as long as a test may: each target, steered by Hypothesis."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import verify_chain
from tests.fakes import mutations
from tests.fakes.mini_ca import NOW
from tests.fakes.targets import TARGETS, WORLD


@pytest.mark.parametrize("target", TARGETS)
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_nothing_but_a_value_or_a_refusal_comes_out(target: str, random: Random) -> None:
    TARGETS[target](random)


def test_forged_chains_get_as_far_as_every_rule() -> None:
    """A fuzzer that is turned away at the door examines the door."""
    reasons = set()
    for seed in range(2000):
        try:
            forged = mutations.forge(Random(seed), WORLD)  # noqa: S311  to be repeated, not to be secret
            verify_chain(forged.chain, WORLD.bundles, NOW)
        except Refused as refused:
            reasons.add(refused.reason.name)
        else:
            reasons.add("proved")
    assert {"proved", "CHAIN_UNTRUSTED", "CHAIN_NAME_CONSTRAINTS", "CHAIN_PATH_LENGTH"} <= reasons
    assert len(reasons) > 20
