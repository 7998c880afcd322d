"""What one agent counts: the events of the mesh in, Prometheus counters out.

The number of series is bounded whatever callers and sources send: reasons, sides, outcomes and gRPC's codes
are enumerations, and no label holds what a peer chose. What is a state and no event is in `gauges`. The list
for operators is `docs/reference/metrics.md`.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from spiffe_mcp.audit import AuditRecord, Kind, Outcome, Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.spiffe_id import SpiffeId

MAX_REMEMBERED: Final = 1000  # identities whose last update is remembered; those changed last


@dataclass(frozen=True, slots=True, eq=False)  # each is itself alone, and hashed with every exchange
class _Family:
    """A counter: its name without the suffix, what it says, and its labels."""

    name: str
    says: str
    labels: tuple[str, ...] = ()


_HANDSHAKES: Final = _Family(
    "spiffe_mcp_handshakes", "TLS handshakes that ended, by side and result.", ("side", "result")
)
_HANDSHAKE_REFUSALS: Final = _Family(
    "spiffe_mcp_handshake_refusals", "Refused TLS handshakes, by side and reason.", ("side", "reason")
)
_RESUMPTIONS: Final = _Family(
    "spiffe_mcp_tls_resumptions",
    "Peers that tried to resume a session, and were refused. Stays 0.",
    ("side",),
)
_CUTS: Final = _Family(
    "spiffe_mcp_connections_cut", "Live connections ended because of their peer.", ("side", "reason")
)
_ADDRESSES_FAILED: Final = _Family(
    "spiffe_mcp_addresses_failed",
    "Times that an address of a server could not be used, by reason.",
    ("reason",),
)
_EXCHANGES: Final = _Family(
    "spiffe_mcp_exchanges", "Exchanges that ended, by side and outcome.", ("side", "outcome")
)
_EXCHANGE_REFUSALS: Final = _Family(
    "spiffe_mcp_exchange_refusals", "Refused exchanges, by side and reason.", ("side", "reason")
)
_AUDIT_FAILURES: Final = _Family(
    "spiffe_mcp_audit_failures", "Times that the audit log could not be written, and a call was refused."
)
_OUTAGES: Final = _Family(
    "spiffe_mcp_identity_source_outages", "Outages of a source of identity, by gRPC status.", ("code",)
)
_RECONNECTS: Final = _Family(
    "spiffe_mcp_identity_source_reconnects", "Outages of a source of identity that have ended."
)
_WITHDRAWALS: Final = _Family(
    "spiffe_mcp_identity_withdrawals", "Identities denied or withdrawn by a source, by reason.", ("reason",)
)
_PARTS_REFUSED: Final = _Family(
    "spiffe_mcp_identity_parts_refused", "Parts of updates that broke a rule, by reason.", ("reason",)
)
_RELOADS: Final = _Family(
    "spiffe_mcp_reloads", "Times that the configuration was read again, by result.", ("result",)
)
# What has not happened yet is shown as 0 where the labels are known: an alert needs a series to look at.
_AT_ZERO: Final[dict[_Family, tuple[tuple[str, ...], ...]]] = {
    _HANDSHAKES: tuple((side.value, result) for side in Side for result in ("completed", "refused")),
    _HANDSHAKE_REFUSALS: (),
    _RESUMPTIONS: tuple((side.value,) for side in Side),
    _CUTS: (),
    _ADDRESSES_FAILED: (),
    _EXCHANGES: tuple((side.value, outcome.value) for side in Side for outcome in Outcome),
    _EXCHANGE_REFUSALS: (),
    _AUDIT_FAILURES: ((),),
    _OUTAGES: (),
    _RECONNECTS: ((),),
    _WITHDRAWALS: (),
    _PARTS_REFUSED: (),
    _RELOADS: (("applied",), ("refused",)),
}


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that is: since when, and whether it is the newest, or one that was refused is."""

    since: datetime
    is_newest: bool


class Metrics(Collector):
    """An `Observer` that counts, and a collector for a registry of the caller's."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._counts: dict[_Family, Counter[tuple[str, ...]]] = {
            family: Counter(dict.fromkeys(known, 0)) for family, known in _AT_ZERO.items()
        }
        self.in_force = InForce(clock(), is_newest=True)
        self._updated: OrderedDict[SpiffeId, datetime] = OrderedDict()  # the latest last

    @property
    def updated(self) -> Mapping[SpiffeId, datetime]:
        """When each identity has changed last."""
        return self._updated

    # -- what happens ---------------------------------------------------------------------------------------

    def identity(self, event: SourceEvent) -> None:
        """See `Observer`."""
        if isinstance(event, Updated):
            self._note_update(event.state.svid.spiffe_id)
        elif isinstance(event, Disconnected):
            self._count(_OUTAGES, event.code)
        elif isinstance(event, Reconnected):
            self._count(_RECONNECTS)
        elif isinstance(event, Denied | Rejected):
            self._count(_WITHDRAWALS, event.reason.code)
        else:
            self._count(_PARTS_REFUSED, event.reason.code)

    def handshake(self, side: Side, refused: Refused | None) -> None:
        """See `Observer`."""
        self._count(_HANDSHAKES, side.value, "completed" if refused is None else "refused")
        if refused is not None:
            self._count(_HANDSHAKE_REFUSALS, side.value, refused.reason.code)
            if refused.reason is Reason.TLS_RESUMED:
                self._count(_RESUMPTIONS, side.value)

    def address_failed(self, refused: Refused) -> None:
        """See `Observer`."""
        self._count(_ADDRESSES_FAILED, refused.reason.code)

    def cut(self, side: Side, refused: Refused) -> None:
        """See `Observer`."""
        self._count(_CUTS, side.value, refused.reason.code)

    def recorded(self, record: AuditRecord) -> None:
        """An exchange has ended. Refused handshakes, which are records too, come by `handshake`."""
        if record.kind is Kind.EXCHANGE:
            self._count(_EXCHANGES, record.side.value, record.outcome.value)
            if record.outcome is Outcome.REFUSED:
                self._count(_EXCHANGE_REFUSALS, record.side.value, record.ruling.reason)

    def reloaded(self, refused: Refused | None) -> None:
        """The configuration was read again, and put in force or refused."""
        self._count(_RELOADS, "applied" if refused is None else "refused")
        since = self.in_force.since if refused is not None else self._clock()
        self.in_force = InForce(since, is_newest=refused is None)

    def not_recorded(self) -> None:
        """The audit log could not be written."""
        self._count(_AUDIT_FAILURES)

    def _count(self, family: _Family, *labels: str) -> None:
        self._counts[family][labels] += 1

    def _note_update(self, spiffe_id: SpiffeId) -> None:
        self._updated[spiffe_id] = self._clock()
        self._updated.move_to_end(spiffe_id)
        while len(self._updated) > MAX_REMEMBERED:
            self._updated.popitem(last=False)

    def collect(self) -> Iterator[Metric]:
        """Every counter, as things stand."""
        for family, counts in self._counts.items():
            yield _counter(family, counts)


def _counter(family: _Family, counts: Counter[tuple[str, ...]]) -> Metric:
    metric = CounterMetricFamily(family.name, family.says, labels=family.labels)
    for labels, count in sorted(counts.items()):
        metric.add_metric(labels, count)
    return metric
