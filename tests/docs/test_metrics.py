"""The reference lists exactly what an agent exports: names, kinds and labels."""

import re
from pathlib import Path
from typing import Final, TypeAlias

from prometheus_client import Metric

from spiffe_mcp.agent.telemetry import Telemetry
from spiffe_mcp.audit import AuditRecord, Outcome, Ruling, Side, Verdict
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Updated
from spiffe_mcp.identity.update import PartRefused
from spiffe_mcp.mesh.identity import Snapshots
from tests.fakes.mini_ca import NOW
from tests.unit.agent.observed import SetClock, state

PAGE: Final = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text()
ROW: Final = re.compile(r"^\| `(\w+)` \| (counter|gauge) \| (.*?) \|", re.MULTILINE)

Families: TypeAlias = dict[str, tuple[str, frozenset[str]]]  # name -> kind, labels


class _Writable:
    def ensure_writable(self) -> None:
        """It is."""

    def append(self, record: AuditRecord) -> None:
        """Somewhere."""


def everything_has_happened() -> list[Metric]:
    """All families of an agent to which each kind of event has come."""
    clock, held, refused = SetClock(), state(), Refused(Reason.TLS_RESUMED)
    telemetry = Telemetry(Snapshots(clock), _Writable(), clock)
    for event in (
        Updated(held),
        Disconnected("UNAVAILABLE", ""),
        Denied(Reason.WORKLOAD_API_DENIED, ""),
        PartRefused("svid", Reason.CERTIFICATE_EXPIRED, ""),
    ):
        telemetry.heard(event)
    telemetry.observer.handshake(Side.INGRESS, refused)
    telemetry.observer.cut(Side.INGRESS, refused)
    telemetry.observer.address_failed(refused)
    ruling = Ruling(Verdict.REFUSE, "policy.denied")
    telemetry.log.append(AuditRecord(NOW, "x", Side.INGRESS, Outcome.REFUSED, ruling=ruling))
    return [*telemetry.registry(connections=(), others=lambda _: (held,)).collect()]


def exported() -> Families:
    found: Families = {}
    for family in everything_has_happened():
        assert family.samples, f"{family.name}: nothing of it has happened in this test"
        for sample in family.samples:
            found[sample.name] = (family.type, frozenset(sample.labels))
    return found


def documented() -> Families:
    rows = ROW.findall(PAGE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_reference_lists_exactly_what_is_exported() -> None:
    assert documented() == exported()


def test_every_metric_has_help_and_a_name_that_prometheus_would_have_chosen() -> None:
    for family in everything_has_happened():
        assert family.documentation
        assert re.fullmatch(r"(spiffe_mcp|process)_[a-z_]+", family.name)


def test_every_name_in_an_alert_is_one() -> None:
    named = set(re.findall(r"\b(?:spiffe_mcp|process)_\w+", PAGE))
    assert named == documented().keys()
