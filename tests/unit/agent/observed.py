"""What the metrics are asked about in these tests: a clock that is set, states, and events by name."""

from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from spiffe_mcp.identity import Bundle, BundleSet, TrustDomain
from spiffe_mcp.identity.state import IdentityState
from tests.fakes.mini_ca import HOUR, NOW, MiniCa


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, time: datetime = NOW) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time


def state(
    path: str = "/w", *foreign: tuple[str, int], ca: MiniCa | None = None, lifetime: timedelta = HOUR
) -> IdentityState:
    """An identity with the bundle of its own trust domain and foreign ones of so many authorities."""
    ca = ca or MiniCa("a.test")
    own = Bundle(TrustDomain(ca.trust_domain), tuple(ca.bundle_der))
    others = [
        Bundle(TrustDomain(name), tuple(MiniCa(name).root.der for _ in range(count)))
        for name, count in foreign
    ]
    return IdentityState(ca.issue(path, lifetime=lifetime), BundleSet((own, *others)))


def sample(collector: Collector, name: str, **labels: str) -> float | None:
    """One sample of what `collector` exports."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry.get_sample_value(name, labels)


def series(collector: Collector, name: str) -> int:
    """How many series of this name it exports."""
    return sum(sample.name == name for family in collector.collect() for sample in family.samples)
