"""What was measured, summed up: medians, ratios within a round, and the table of them.

Enters: measurements. Leaves: the document that `--json` writes, and text. No I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from scripts.benchmarks.measure import Measurement

REFERENCE: Final = "nginx"
BASE: Final = "direct"
OURS: Final = "mesh"


@dataclass(frozen=True, slots=True)
class Point:
    """A target at a number of connections: medians over the rounds."""

    target: str
    connections: int
    rate: float  # calls a second
    p50: float  # milliseconds
    p99: float  # milliseconds
    cpu: Mapping[str, float]  # microseconds a call, by role
    rss: Mapping[str, float]  # MiB, by role: the most that was seen
    pss: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "target": self.target,
            "connections": self.connections,
            "calls_per_second": round(self.rate, 1),
            "p50_ms": round(self.p50, 3),
            "p99_ms": round(self.p99, 3),
            "cpu_us_per_call": _rounded(self.cpu),
            "rss_mib": _rounded(self.rss),
            "pss_mib": _rounded(self.pss),
        }


def points(measurements: Iterable[Measurement]) -> list[Point]:
    """One for each target and number of connections, in the order of their first measurement."""
    groups: dict[tuple[str, int], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.target, one.connections), []).append(one)
    return [_point(group) for group in groups.values()]


def throughput_ratio(
    measurements: Sequence[Measurement], connections: int, ours: str = OURS, reference: str = REFERENCE
) -> float | None:
    """Median over the rounds of our calls a second to the reference's; None where either is missing."""
    own, other = (_rates(measurements, name, connections) for name in (ours, reference))
    shared = own.keys() & other.keys()
    return median(own[round_] / other[round_] for round_ in shared) if shared else None


def added_p50_ratio(
    found: Iterable[Point], connections: int = 1, ours: str = OURS, reference: str = REFERENCE
) -> float | None:
    """Our median latency beyond the bare server's, to the reference's; None where it cannot be said."""
    p50 = {point.target: point.p50 for point in found if point.connections == connections}
    if not {ours, reference, BASE} <= p50.keys() or p50[reference] <= p50[BASE]:
        return None
    return (p50[ours] - p50[BASE]) / (p50[reference] - p50[BASE])


def ratios(measurements: Sequence[Measurement]) -> dict[str, float]:
    """All ratios of ours to the reference that these measurements allow."""
    found = points(measurements)
    numbers = sorted({point.connections for point in found})
    named = {f"throughput_{number}": throughput_ratio(measurements, number) for number in numbers}
    named |= {f"added_p50_{number}": added_p50_ratio(found, number) for number in numbers}
    return {name: round(value, 3) for name, value in named.items() if value is not None}


def tables(document: Mapping[str, Any]) -> list[str]:
    """All that a document says, as lines of Markdown."""
    titles = document["titles"]
    lines = [*table(document["points"], titles), ""]
    if document["stages"]:
        lines += [*table(document["stages"], titles), ""]
    if document["streams"]:
        lines += ["| streamed answer | MB/s | CPU s |", "|---|--:|---|"]
        lines += [
            f"| {titles[one['target']]} | {one['megabytes_per_second']:,.0f} "
            f"| {_by_role(one['cpu_seconds'], 2)} |"
            for one in document["streams"]
        ]
        lines.append("")
    if document["handshakes"]:
        lines += ["| new connections | handshakes/s | CPU µs at the ingress |", "|---|--:|--:|"]
        lines += [
            f"| {titles[one['target']]} | {one['handshakes_per_second']:,.0f} "
            f"| {one['cpu_us_per_handshake']:,.0f} |"
            for one in document["handshakes"]
        ]
        lines.append("")
    lines += [f"- {name}: {ratio}" for name, ratio in document["ratios"].items()]
    lines += [f"- not measured: {titles[name]}: {why}" for name, why in document["not_measured"].items()]
    return lines


def table(found: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    """Points, as JSON has them, as lines of Markdown."""
    lines = [
        "| target | connections | calls/s | p50 ms | p99 ms | CPU µs a call | RSS MiB | PSS MiB |",
        "|---|--:|--:|--:|--:|---|---|---|",
    ]
    lines += [
        f"| {titles.get(point['target'], point['target'])} | {point['connections']} "
        f"| {point['calls_per_second']:,.0f} | {point['p50_ms']:.3f} | {point['p99_ms']:.2f} "
        f"| {_by_role(point['cpu_us_per_call'])} | {_by_role(point['rss_mib'])} "
        f"| {_by_role(point['pss_mib'])} |"
        for point in found
    ]
    return lines


def _point(group: Sequence[Measurement]) -> Point:
    first = group[0]
    return Point(
        target=first.target,
        connections=first.connections,
        rate=median(one.load.rate for one in group),
        p50=median(one.load.p50 for one in group),
        p99=median(one.load.p99 for one in group),
        cpu={role: median(one.cpu[role] / one.load.calls * 1e6 for one in group) for role in first.cpu},
        rss={role: max(one.memory[role].rss for one in group) for role in first.memory},
        pss={role: max(one.memory[role].pss for one in group) for role in first.memory},
    )


def _rates(measurements: Iterable[Measurement], target: str, connections: int) -> dict[int, float]:
    return {
        one.round: one.load.rate
        for one in measurements
        if (one.target, one.connections) == (target, connections)
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {role: round(value, 1) for role, value in values.items()}


def _by_role(values: Mapping[str, float], digits: int = 0) -> str:
    return ", ".join(f"{role} {value:.{digits}f}" for role, value in values.items()) or "-"
