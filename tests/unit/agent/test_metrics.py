"""Events are counted once, by words of ours alone; what must stay 0 is there from the beginning."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spiffe_mcp.agent import metrics
from spiffe_mcp.agent.metrics import InForce, Metrics
from spiffe_mcp.audit import AuditRecord, Kind, Outcome, Ruling, Side, Verdict
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Reconnected, Rejected, Updated
from spiffe_mcp.identity.update import PartRefused
from spiffe_mcp.mesh.observer import Observer
from tests.fakes.mini_ca import NOW, MiniCa
from tests.unit.agent.observed import SetClock, sample, series, state


@pytest.fixture
def counted() -> Metrics:
    return Metrics(SetClock())


def record(outcome: Outcome, reason: str = "", kind: Kind = Kind.EXCHANGE) -> AuditRecord:
    ruling = Ruling(Verdict.REFUSE, reason)
    return AuditRecord(NOW, "exchange", Side.INGRESS, outcome, kind=kind, ruling=ruling)


def test_it_is_an_observer(counted: Metrics) -> None:
    observer: Observer = counted
    observer.handshake(Side.EGRESS, None)


def test_handshakes_are_counted_by_side_and_result_and_refusals_by_reason(counted: Metrics) -> None:
    counted.handshake(Side.INGRESS, None)
    counted.handshake(Side.INGRESS, None)
    counted.handshake(Side.INGRESS, Refused(Reason.ID_NOT_AUTHORIZED, "spiffe://a.test/x"))
    assert sample(counted, "spiffe_mcp_handshakes_total", side="ingress", result="completed") == 2
    assert sample(counted, "spiffe_mcp_handshakes_total", side="ingress", result="refused") == 1
    assert sample(counted, "spiffe_mcp_handshakes_total", side="egress", result="refused") == 0
    reason = {"side": "ingress", "reason": "identity.id_not_authorized"}
    assert sample(counted, "spiffe_mcp_handshake_refusals_total", **reason) == 1


def test_a_resumption_is_counted_and_0_is_shown_before_the_first(counted: Metrics) -> None:
    assert sample(counted, "spiffe_mcp_tls_resumptions_total", side="ingress") == 0
    counted.handshake(Side.INGRESS, Refused(Reason.TLS_NO_CERTIFICATE))
    assert sample(counted, "spiffe_mcp_tls_resumptions_total", side="ingress") == 0
    counted.handshake(Side.INGRESS, Refused(Reason.TLS_RESUMED))
    assert sample(counted, "spiffe_mcp_tls_resumptions_total", side="ingress") == 1


def test_addresses_that_failed_are_counted_by_reason(counted: Metrics) -> None:
    for said in ("one:8443", "two:8443"):
        counted.address_failed(Refused(Reason.UPSTREAM_UNREACHABLE, said))
    counted.address_failed(Refused(Reason.ID_NOT_AUTHORIZED, "spiffe://a.test/x"))
    name, reason = "spiffe_mcp_addresses_failed_total", Reason.UPSTREAM_UNREACHABLE.code
    assert sample(counted, name, reason=reason) == 2
    assert sample(counted, name, reason=Reason.ID_NOT_AUTHORIZED.code) == 1


def test_cuts_are_counted_by_reason(counted: Metrics) -> None:
    counted.cut(Side.EGRESS, Refused(Reason.CHAIN_UNTRUSTED, "detail"))
    labels = {"side": "egress", "reason": "identity.chain_untrusted"}
    assert sample(counted, "spiffe_mcp_connections_cut_total", **labels) == 1


def test_the_news_of_a_source_are_counted_by_kind(counted: Metrics) -> None:
    counted.identity(Disconnected("UNAVAILABLE", "no socket"))
    counted.identity(Denied(Reason.WORKLOAD_API_DENIED, "no entry"))
    counted.identity(Rejected(Reason.BROKER_REJECTED, "header"))
    counted.identity(PartRefused("bundle 'b.test'", Reason.CERTIFICATE_MALFORMED, "garbage"))
    assert sample(counted, "spiffe_mcp_identity_source_outages_total", code="UNAVAILABLE") == 1
    withdrawn = "spiffe_mcp_identity_withdrawals_total"
    assert sample(counted, withdrawn, reason="identity.workload_api_denied") == 1
    assert sample(counted, withdrawn, reason="identity.broker_rejected") == 1
    parts = "spiffe_mcp_identity_parts_refused_total"
    assert sample(counted, parts, reason="identity.certificate_malformed") == 1


def test_reconnects_are_counted_and_are_nothing_else(counted: Metrics) -> None:
    name = "spiffe_mcp_identity_source_reconnects_total"
    assert sample(counted, name) == 0
    counted.identity(Disconnected("UNAVAILABLE", "no socket"))
    assert sample(counted, name) == 0
    counted.identity(Reconnected("UNAVAILABLE"))
    assert sample(counted, name) == 1
    assert sample(counted, "spiffe_mcp_identity_source_outages_total", code="UNAVAILABLE") == 1


def test_an_update_is_remembered_with_its_time() -> None:
    clock = SetClock()
    counted = Metrics(clock)
    first = state("/w")
    counted.identity(Updated(first))
    clock.time += timedelta(minutes=1)
    counted.identity(Updated(first))
    assert counted.updated == {first.svid.spiffe_id: NOW + timedelta(minutes=1)}


def test_of_endless_identities_only_the_last_are_remembered(
    counted: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MAX_REMEMBERED", 3)
    ca = MiniCa("a.test")
    for number in (1, 2, 3, 1, 4):
        counted.identity(Updated(state(f"/{number}", ca=ca)))
    assert [spiffe_id.path for spiffe_id in counted.updated] == ["/3", "/1", "/4"]


def test_exchanges_are_counted_by_outcome_and_refused_ones_by_reason(counted: Metrics) -> None:
    counted.recorded(record(Outcome.COMPLETED))
    counted.recorded(record(Outcome.REFUSED, "policy.denied"))
    counted.recorded(record(Outcome.CANCELLED))
    assert sample(counted, "spiffe_mcp_exchanges_total", side="ingress", outcome="completed") == 1
    assert sample(counted, "spiffe_mcp_exchanges_total", side="ingress", outcome="refused") == 1
    assert sample(counted, "spiffe_mcp_exchange_refusals_total", side="ingress", reason="policy.denied") == 1
    assert series(counted, "spiffe_mcp_exchange_refusals_total") == 1


def test_the_record_of_a_refused_handshake_is_not_counted_twice(counted: Metrics) -> None:
    counted.recorded(record(Outcome.REFUSED, "tls.handshake", Kind.AUTHENTICATION))
    assert series(counted, "spiffe_mcp_exchange_refusals_total") == 0


def test_no_label_and_no_help_holds_what_a_peer_or_a_source_said(counted: Metrics) -> None:
    said = 'SAID"\n{'
    counted.handshake(Side.INGRESS, Refused(Reason.ID_MALFORMED, said))
    counted.cut(Side.INGRESS, Refused(Reason.ID_MALFORMED, said))
    counted.address_failed(Refused(Reason.ID_MALFORMED, said))
    counted.identity(Disconnected("UNAVAILABLE", said))
    counted.identity(Denied(Reason.WORKLOAD_API_DENIED, said))
    counted.identity(PartRefused(said, Reason.CERTIFICATE_MALFORMED, said))
    registry = CollectorRegistry()
    registry.register(counted)
    assert b"SAID" not in generate_latest(registry)


def test_a_reload_is_counted_and_one_that_was_refused_leaves_the_last_good_one() -> None:
    clock = SetClock()
    counted, started = Metrics(clock), clock()
    clock.time += timedelta(minutes=1)
    counted.reloaded(Refused(Reason.POLICY_INVALID))
    assert counted.in_force == InForce(started, is_newest=False)
    counted.reloaded(None)
    assert counted.in_force == InForce(clock(), is_newest=True)
    assert sample(counted, "spiffe_mcp_reloads_total", result="refused") == 1
    assert sample(counted, "spiffe_mcp_reloads_total", result="applied") == 1
