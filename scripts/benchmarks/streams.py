"""A large streamed answer through each target: megabytes a second, and the CPU that it took.

The native client reads it, counts events and bytes, and demands the result at its end: the answer is whole,
or there is no measurement.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from scripts.benchmarks import calls, usage
from scripts.benchmarks.load import WrongAnswersError
from scripts.benchmarks.peers.target import Running
from scripts.benchmarks.server import native

EVENT_BYTES: Final = 4096
EVENTS: Final = 25_000  # 100 MB
_TIMEOUT: Final = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Streamed:
    """One streamed answer."""

    target: str
    round: int
    size: int  # bytes
    seconds: float
    cpu: Mapping[str, float]  # seconds, by role

    @property
    def rate(self) -> float:
        """Megabytes a second."""
        return self.size / self.seconds / 1e6


def once(name: str, running: Running, round_: int, events: int = EVENTS) -> Streamed:
    """Read one; raises `WrongAnswersError`."""
    before = {role: usage.cpu_seconds(pid) for role, pid in running.processes.items()}
    ran = subprocess.run(
        [native(), "stream", f"-url={running.url}"],
        input=calls.streaming(events, EVENT_BYTES),
        capture_output=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if ran.returncode:
        raise WrongAnswersError(f"{name}: {ran.stderr.decode(errors='replace').strip()}")
    said = json.loads(ran.stdout)
    if said["events"] != events + 1:  # the result is one of them
        raise WrongAnswersError(f"{name}: {said['events']} events instead of {events + 1}")
    cpu = {role: usage.cpu_seconds(pid) - before[role] for role, pid in running.processes.items()}
    return Streamed(name, round_, said["bytes"], said["seconds"], cpu)


def summary(streamed: Sequence[Streamed]) -> list[dict[str, Any]]:
    """Medians for each target, as JSON."""
    groups: dict[str, list[Streamed]] = {}
    for one in streamed:
        groups.setdefault(one.target, []).append(one)
    return [
        {
            "target": name,
            "megabytes": round(group[0].size / 1e6, 1),
            "megabytes_per_second": round(median(one.rate for one in group), 1),
            "cpu_seconds": {role: round(median(one.cpu[role] for one in group), 3) for role in group[0].cpu},
        }
        for name, group in groups.items()
    ]


def ratio(streamed: Sequence[Streamed], ours: str, reference: str) -> float | None:
    """Median over the rounds of our rate to the reference's; None where either is missing."""
    own, other = (
        {one.round: one.rate for one in streamed if one.target == name} for name in (ours, reference)
    )
    shared = own.keys() & other.keys()
    return median(own[round_] / other[round_] for round_ in shared) if shared else None
