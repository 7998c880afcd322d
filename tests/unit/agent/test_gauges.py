"""Gauges move by themselves, and show those most in need where not all fit."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from spiffe_mcp.agent import gauges
from spiffe_mcp.agent.gauges import Gauges
from spiffe_mcp.agent.metrics import InForce
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.state import IdentityState
from tests.fakes.mini_ca import BACKDATED, HOUR, MiniCa
from tests.unit.agent.observed import SetClock, sample, series, state

EXPIRY, AGE, AUTHORITIES = (
    "spiffe_mcp_svid_expiry_seconds",
    "spiffe_mcp_svid_update_age_seconds",
    "spiffe_mcp_bundle_authorities",
)


IN_FORCE = InForce(datetime(2026, 1, 1, tzinfo=UTC), is_newest=False)


def gauges_of(
    *states: IdentityState,
    clock: SetClock | None = None,
    updated: Mapping[SpiffeId, datetime] | None = None,
    ready: bool = True,
) -> Gauges:
    clock = clock or SetClock()
    return Gauges(clock, lambda: states, updated or {}, lambda: 7, lambda: ready, lambda: IN_FORCE)


def test_seconds_to_expiry_are_those_of_the_scrape_and_go_below_0() -> None:
    clock, held = SetClock(), state()
    shown = gauges_of(held, clock=clock)
    whole = (HOUR - BACKDATED).total_seconds()
    assert sample(shown, EXPIRY, spiffe_id="spiffe://a.test/w") == whole
    clock.time += 2 * HOUR
    assert sample(shown, EXPIRY, spiffe_id="spiffe://a.test/w") == whole - 7200


def test_the_age_of_an_update_grows_and_one_that_is_unknown_is_not_made_up() -> None:
    clock, held = SetClock(), state()
    shown = gauges_of(held, clock=clock, updated={held.svid.spiffe_id: clock()})
    clock.time += timedelta(minutes=2)
    assert sample(shown, AGE, spiffe_id="spiffe://a.test/w") == 120
    assert series(gauges_of(held), AGE) == 0


def test_without_an_identity_there_is_no_expiry_and_the_count_says_so() -> None:
    assert series(gauges_of(), EXPIRY) == 0
    assert sample(gauges_of(), "spiffe_mcp_identities") == 0
    assert sample(gauges_of(state()), "spiffe_mcp_identities") == 1


def test_an_empty_bundle_shows_as_0_and_is_not_hidden_by_a_workload_that_has_more() -> None:
    shown = gauges_of(state("/w", ("b.test", 2)), state("/x", ("b.test", 0)))
    assert sample(shown, AUTHORITIES, trust_domain="a.test") == 1
    assert sample(shown, AUTHORITIES, trust_domain="b.test") == 0


def test_of_many_identities_those_that_expire_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "MAX_SERIES", 2)
    ca = MiniCa("a.test")
    shown = gauges_of(*(state(f"/{hours}", ca=ca, lifetime=hours * HOUR) for hours in (3, 1, 2)))
    assert series(shown, EXPIRY) == 2
    assert sample(shown, EXPIRY, spiffe_id="spiffe://a.test/1") is not None
    assert sample(shown, EXPIRY, spiffe_id="spiffe://a.test/3") is None


def test_of_many_trust_domains_the_empty_ones_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "MAX_SERIES", 1)
    shown = gauges_of(state("/w", ("z.test", 0)))
    assert series(shown, AUTHORITIES) == 1
    assert sample(shown, AUTHORITIES, trust_domain="z.test") == 0


def test_readiness_and_connections_are_asked_for() -> None:
    assert sample(gauges_of(ready=True), "spiffe_mcp_ready") == 1
    assert sample(gauges_of(ready=False), "spiffe_mcp_ready") == 0
    assert sample(gauges_of(), "spiffe_mcp_connections") == 7


def test_the_configuration_that_is_in_force_shows_its_age_and_whether_another_waits() -> None:
    assert sample(gauges_of(), "spiffe_mcp_last_reload_successful") == 0
    assert sample(gauges_of(), "spiffe_mcp_last_reload_success_timestamp_seconds") == 1767225600
