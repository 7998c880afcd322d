"""Ratios are taken within a round, and the medians of them reported."""

import pytest

from scripts.benchmarks import report
from scripts.benchmarks.load import Load
from scripts.benchmarks.measure import Measurement
from scripts.benchmarks.usage import Memory


def measured(
    target: str, round_: int, rate: int, p50: float = 1.0, connections: int = 16, rss: float = 10.0
) -> Measurement:
    load = Load(calls=rate * 2, seconds=2.0, p50=p50, p99=p50 * 10, cpu=0.1)
    cpu, memory = {"egress": rate * 2 * 50e-6, "load": 0.1}, {"egress": Memory(rss, rss / 2)}
    return Measurement(target, round_, connections, load, cpu, memory)


def test_throughput_is_compared_within_a_round() -> None:
    """In the second round the machine was half as fast for both: that is no change of the ratio."""
    measurements = [
        *(measured("nginx", round_, rate) for round_, rate in enumerate([1000, 500, 1000])),
        *(measured("mesh", round_, rate) for round_, rate in enumerate([250, 125, 300])),
    ]
    assert report.throughput_ratio(measurements, 16) == 0.25
    assert report.throughput_ratio(measurements, 1) is None


def test_added_latency_is_what_lies_beyond_the_bare_server() -> None:
    found = report.points(
        [
            measured("direct", 0, 100, p50=0.1, connections=1),
            measured("nginx", 0, 100, p50=0.3, connections=1),
            measured("mesh", 0, 100, p50=0.6, connections=1),
        ]
    )
    assert report.added_p50_ratio(found) == pytest.approx(2.5)
    assert report.added_p50_ratio(found[1:]) is None
    assert report.added_p50_ratio(found, 16) is None


def test_a_reference_that_adds_nothing_gives_no_ratio() -> None:
    found = report.points([measured(name, 0, 100, connections=1) for name in ("direct", "nginx", "mesh")])
    assert report.added_p50_ratio(found) is None


def test_a_point_has_medians_and_the_most_memory_that_was_seen() -> None:
    rates = [(100, 20.0), (300, 30.0), (200, 25.0)]
    [point] = report.points(
        measured("mesh", round_, rate, rss=rss) for round_, (rate, rss) in enumerate(rates)
    )
    assert (point.rate, point.rss, point.pss) == (200, {"egress": 30.0}, {"egress": 15.0})
    assert point.cpu["egress"] == pytest.approx(50)


def test_the_ratios_have_the_names_that_are_asked_for() -> None:
    measurements = [
        measured(name, 0, rate, p50=p50, connections=connections)
        for name, rate, p50 in [("direct", 100, 0.1), ("nginx", 50, 0.2), ("mesh", 25, 0.4)]
        for connections in (1, 16)
    ]
    assert report.ratios(measurements) == {
        "throughput_1": 0.5,
        "throughput_16": 0.5,
        "added_p50_1": 3.0,
        "added_p50_16": 3.0,
    }


def test_the_table_names_every_target_by_its_title() -> None:
    found = [point.document() for point in report.points([measured("mesh", 0, 1234)])]
    lines = report.table(found, {"mesh": "this mesh"})
    assert lines[-1].startswith("| this mesh | 16 | 1,234 | 1.000 | 10.00 | egress 50")


def test_all_that_was_measured_has_its_table_and_what_was_not_its_reason() -> None:
    point = report.points([measured("mesh", 0, 1000)])[0].document()
    lines = report.tables(
        {
            "titles": {"mesh": "this mesh", "slow": "a slow peer"},
            "points": [point],
            "stages": [],
            "streams": [{"target": "mesh", "megabytes_per_second": 58.2, "cpu_seconds": {"egress": 0.214}}],
            "handshakes": [
                {"target": "mesh", "handshakes_per_second": 478.2, "cpu_us_per_handshake": 1438.4}
            ],
            "ratios": {"throughput_16": 0.065},
            "not_measured": {"slow": "slow is not on PATH"},
        }
    )
    assert "| this mesh | 58 | egress 0.21 |" in lines
    assert "| this mesh | 478 | 1,438 |" in lines
    assert lines[-2:] == ["- throughput_16: 0.065", "- not measured: a slow peer: slow is not on PATH"]
