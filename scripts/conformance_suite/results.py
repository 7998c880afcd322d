"""What one run of the suite has found, read from the files that it leaves.

Enters: a folder with one folder for each scenario, in which there is `checks.json`. Leaves: `Results`: for
each scenario how often which check came out how. Times and details are left out: they differ each time. So
are notes (INFO), which say what went by: beside a client, an ingress asks questions of its own.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

# server-tools-list-2026-11-26T07-19-30-040Z
_RUN: Final = re.compile(r"(?:server|client)?-?(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

Outcome: TypeAlias = tuple[str, str]  # the check's ID, and SUCCESS, FAILURE, WARNING or SKIPPED
Results: TypeAlias = Mapping[str, Counter[Outcome]]

PASSED: Final = "SUCCESS"
FAILED: Final = "FAILURE"
NOTED: Final = "INFO"


def read(folder: Path) -> Results:
    """Every scenario below `folder`; raises ValueError for a folder that is none."""
    results: dict[str, Counter[Outcome]] = {}
    for file in sorted(folder.rglob("checks.json")):
        name = str(file.parent.relative_to(folder))
        if (run := _RUN.fullmatch(name)) is None:
            raise ValueError(name)
        checks = json.loads(file.read_text())
        outcomes = ((check["id"], check["status"]) for check in checks)
        results[run["scenario"]] = Counter(outcome for outcome in outcomes if outcome[1] != NOTED)
    return results


def total(results: Results, status: str) -> int:
    """How many checks came out as `status`."""
    return sum(
        number for found in results.values() for (_, came_out), number in found.items() if came_out == status
    )
