"""What the runs have found, in words: the page of the reference, which is also what is printed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.conformance_suite.comparison import differences, rows
from scripts.conformance_suite.results import FAILED, PASSED, Results, total

_HEAD: Final = """\
# Conformance

The official suite, [`@modelcontextprotocol/conformance`][suite] 0.2.0-alpha.12, against the everything-server
of the Python SDK (`mcp` 2.3.0), directly and through two agents with a policy that allows everything; and the
SDK's conformance client against the servers of the suite, the same two ways. What passes directly passes
through the mesh, or stands below with the reason. `scripts/conformance` writes this page, and CI fails where
it would say something else.

[suite]: https://www.npmjs.com/package/@modelcontextprotocol/conformance

"""
_NOTES: Final = """
Passed and failed checks. What a revision requires passes both ways: the failed checks are of the tasks
extension, which this server has not, and of a pending scenario. Client scenarios about OAuth are left out:
they are between a client and its authorization server, and a mesh that carries no `Authorization` has no part
in them.
"""
_COLUMNS: Final = "| directly | through the mesh |"


@dataclass(frozen=True, slots=True)
class Run:
    """One set of scenarios, both ways."""

    name: str  # "server 2026-07-28"
    direct: Results
    meshed: Results


def page(runs: Sequence[Run], expected: Mapping[str, Mapping[str, str]]) -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD, f"| run {_COLUMNS}\n|---|---|---|\n"]
    parts += [f"| {run.name} | {_totals(run.direct)} | {_totals(run.meshed)} |\n" for run in runs]
    parts += [_NOTES]
    for run in runs:
        parts += _differences(run, expected.get(run.name, {}))
    for run in runs:
        parts += [f"\n## {run.name}\n\n", f"| scenario {_COLUMNS}\n|---|---|---|\n"]
        parts += [
            f"| `{row.scenario}` | {_pair(*row.direct)} | {_pair(*row.meshed)} |\n"
            for row in rows(run.direct, run.meshed)
        ]
    return "".join(parts)


def _differences(run: Run, reasons: Mapping[str, str]) -> list[str]:
    found = differences(run.direct, run.meshed)
    if not found:
        return []
    head = (
        f"\n## What differs: {run.name}\n\n| check | directly | through the mesh | why |\n|---|---|---|---|\n"
    )
    lines = [
        f"| `{one.scenario}`: `{one.check}` | {one.direct} | {one.meshed} | "
        f"{reasons.get(f'{one.scenario}:{one.check}', 'nobody knows')} |\n"
        for one in found
    ]
    return [head, *lines]


def _totals(results: Results) -> str:
    return _pair(total(results, PASSED), total(results, FAILED))


def _pair(passed: int, failed: int) -> str:
    return f"{passed}, {failed} failed" if failed else str(passed)
