"""Two runs of the suite side by side: straight to the server, and through the mesh. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scripts.conformance_suite.results import FAILED, PASSED, Outcome, Results


@dataclass(frozen=True, slots=True)
class Difference:
    """A check that did not come out through the mesh as it did directly."""

    scenario: str
    check: str
    direct: str
    meshed: str


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario: (passed, failed) directly and through the mesh."""

    scenario: str
    direct: tuple[int, int]
    meshed: tuple[int, int]


def rows(direct: Results, meshed: Results) -> list[Row]:
    """Every scenario of either run."""
    return [
        Row(scenario, _counts(direct.get(scenario)), _counts(meshed.get(scenario)))
        for scenario in sorted(direct.keys() | meshed.keys())
    ]


def differences(direct: Results, meshed: Results) -> list[Difference]:
    """Every check that came out otherwise; one that was not made on one side came out as `-`."""
    return [
        difference
        for scenario in sorted(direct.keys() | meshed.keys())
        for difference in _of_scenario(
            scenario, direct.get(scenario, Counter()), meshed.get(scenario, Counter())
        )
    ]


def unexpected(found: list[Difference], expected: Mapping[str, str]) -> list[Difference]:
    """Those that nobody has given a reason for: `expected` has one by `scenario:check`."""
    return [one for one in found if f"{one.scenario}:{one.check}" not in expected]


def stale(found: list[Difference], expected: Mapping[str, str]) -> list[str]:
    """What was expected to differ and does not."""
    return sorted(expected.keys() - {f"{one.scenario}:{one.check}" for one in found})


def _of_scenario(scenario: str, direct: Counter[Outcome], meshed: Counter[Outcome]) -> Iterator[Difference]:
    for check in sorted({check for check, _ in direct | meshed}):
        here, there = _said(check, direct), _said(check, meshed)
        if here != there:
            yield Difference(scenario, check, here, there)


def _said(check: str, found: Counter[Outcome]) -> str:
    came_out = [f"{status} x{number}" for (name, status), number in sorted(found.items()) if name == check]
    return ", ".join(came_out) or "-"


def _counts(found: Counter[Outcome] | None) -> tuple[int, int]:
    if found is None:
        return 0, 0
    by_status: Counter[str] = Counter()
    for (_, status), number in found.items():
        by_status[status] += number
    return by_status[PASSED], by_status[FAILED]
