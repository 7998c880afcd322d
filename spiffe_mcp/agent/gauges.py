"""What one agent is, at the moment of a scrape: Prometheus gauges, computed when they are asked for.

A gauge that is written when something happens would show a healthy number for as long as nothing does;
seconds to expiry and ages have to move by themselves. Of identities and trust domains only so many are shown,
those most in need first, so that what an alert looks for is never among what is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spiffe_mcp.agent.metrics import InForce
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.state import IdentityState

MAX_SERIES: Final = 100  # of one family that is labelled by identity or by trust domain


@dataclass(frozen=True, slots=True, eq=False)
class Gauges(Collector):
    """A collector for a registry of the caller's.

    `states` are the identities that are held, `updated` when each has changed last, `connections` how many
    are live, `ready` whether the agent is, `in_force` which configuration is.
    """

    clock: Callable[[], datetime]
    states: Callable[[], Iterable[IdentityState]]
    updated: Mapping[SpiffeId, datetime]
    connections: Callable[[], int]
    ready: Callable[[], bool]
    in_force: Callable[[], InForce]

    def collect(self) -> Iterator[Metric]:
        """Every gauge, now."""
        states = list(self.states())
        yield _gauge("spiffe_mcp_ready", "1 if the agent can serve, as /readyz says.", self.ready())
        yield _gauge("spiffe_mcp_connections", "Live connections with other agents.", self.connections())
        yield _gauge("spiffe_mcp_identities", "Identities that are held.", len(states))
        in_force = self.in_force()
        yield _gauge(
            "spiffe_mcp_last_reload_successful",
            "0 if the newest configuration was refused, and the one before is in force.",
            in_force.is_newest,
        )
        yield _gauge(
            "spiffe_mcp_last_reload_success_timestamp_seconds",
            "When the configuration that is in force was read, in seconds since 1970.",
            in_force.since.timestamp(),
        )
        yield from self._identities(states)
        yield _authorities(states)

    def _identities(self, states: list[IdentityState]) -> Iterator[Metric]:
        now = self.clock()
        expiry = GaugeMetricFamily(
            "spiffe_mcp_svid_expiry_seconds",
            "Seconds until the SVID expires; negative once it has.",
            labels=("spiffe_id",),
        )
        age = GaugeMetricFamily(
            "spiffe_mcp_svid_update_age_seconds",
            "Seconds since the SVID or a bundle of this identity last changed.",
            labels=("spiffe_id",),
        )
        until = {state.svid.spiffe_id: state.svid.not_after for state in states}
        for spiffe_id, not_after in sorted(until.items(), key=lambda item: item[1])[:MAX_SERIES]:
            expiry.add_metric((str(spiffe_id),), (not_after - now).total_seconds())
            if (updated := self.updated.get(spiffe_id)) is not None:
                age.add_metric((str(spiffe_id),), (now - updated).total_seconds())
        yield expiry
        yield age


def _authorities(states: list[IdentityState]) -> Metric:
    """Of each trust domain the fewest authorities that an identity has for it: none is what alarms."""
    family = GaugeMetricFamily(
        "spiffe_mcp_bundle_authorities",
        "Authorities in the bundle of a trust domain; 0 trusts nobody there.",
        labels=("trust_domain",),
    )
    fewest: dict[TrustDomain, int] = {}
    for bundle in (bundle for state in states for bundle in state.bundles.bundles):
        count = len(bundle.authorities_der)
        fewest[bundle.trust_domain] = min(count, fewest.get(bundle.trust_domain, count))
    for trust_domain, count in sorted(fewest.items(), key=lambda item: (item[1], item[0]))[:MAX_SERIES]:
        family.add_metric((str(trust_domain),), count)
    return family


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, float(value))
