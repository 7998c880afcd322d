"""Exchanges begin with the newest identity there is, and with none if there is none."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.identity import Snapshots
from tests.exchange.playbook import BUNDLES, CA, NOW, PLANNER, REVIEWER


async def coming(*states: IdentityState | None) -> AsyncIterator[IdentityState | None]:
    for state in states:
        yield state


async def after(*states: IdentityState | None) -> Snapshots:
    """What there is once these have come."""
    snapshots = Snapshots(lambda: NOW)
    await snapshots.follow(coming(*states))
    return snapshots


def unavailable(snapshots: Snapshots, later: timedelta = timedelta()) -> bool:
    with pytest.raises(Refused) as caught:
        snapshots.current(NOW + later)
    return caught.value.reason is Reason.IDENTITY_UNAVAILABLE


OLD, NEW = IdentityState(PLANNER, BUNDLES), IdentityState(REVIEWER, BUNDLES)


async def test_before_the_first_identity_there_is_no_exchange() -> None:
    assert unavailable(await after())


async def test_the_newest_identity_counts() -> None:
    snapshots = await after(OLD, NEW)
    assert snapshots.current(NOW).identity is NEW


async def test_everything_of_one_identity_is_computed_once() -> None:
    """Contexts and signers are shared by its exchanges, and hops are pooled by them."""
    snapshots = await after(OLD)
    assert snapshots.current(NOW) is snapshots.current(NOW + timedelta(seconds=1))


async def test_an_exchange_keeps_the_snapshot_that_it_began_with() -> None:
    snapshots = await after(OLD)
    begun = snapshots.current(NOW)
    await snapshots.follow(coming(NEW))
    assert begun.identity is OLD
    assert snapshots.current(NOW).identity is NEW


async def test_an_identity_that_is_withdrawn_is_gone() -> None:
    assert unavailable(await after(OLD, None))


async def test_an_identity_that_has_expired_is_gone_and_no_older_one_takes_its_place() -> None:
    short = IdentityState(CA.issue(lifetime=timedelta(minutes=1)), BUNDLES)
    assert unavailable(await after(OLD, short), timedelta(minutes=2))
