"""Load: wrk on a target for some seconds, and what it measured. An answer that is no answer fails the run."""

import json
import resource
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from scripts.benchmarks import calls
from scripts.benchmarks.calls import Form

TIMEOUT: Final = "30s"  # for one answer: slow targets are measured too
_GRACE: Final = 60.0  # seconds beyond the period, until wrk has to be done
_RUN: Final = 10_000_000  # numbers set aside for one run: more calls than any makes


class WrongAnswersError(Exception):
    """Some calls were not answered as they should have been: whatever was measured is no measure."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk came to."""

    calls: int
    seconds: float
    p50: float  # milliseconds
    p99: float  # milliseconds
    cpu: float  # seconds, of wrk itself

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    def __str__(self) -> str:
        return f"{self.rate:,.0f} calls/s, p50 {self.p50:.3f} ms, p99 {self.p99:.3f} ms"


class Wrk:
    """Makes load. Every call of its life has a number of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._runs = count()

    def run(self, form: Form, url: str, connections: int, seconds: int) -> Load:
        """Calls without a pause on so many connections; raises `WrongAnswersError`."""
        number = next(self._runs)
        script = self._folder / f"wrk-{number}.lua"
        script.write_text(calls.script(form, url))
        first = str(calls.FIRST_ID + number * _RUN)
        options = [
            f"--connections={connections}",
            "--threads=1",
            f"--duration={seconds}s",
            f"--timeout={TIMEOUT}",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [self._program, *options, f"--script={script}", url, "--", first],
            capture_output=True,
            text=True,
            timeout=seconds + _GRACE,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return parse(ran.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def parse(output: str, cpu: float = 0.0) -> Load:
    """What the script's `done` wrote in its last line; raises `WrongAnswersError`."""
    said = json.loads(output.strip().splitlines()[-1])
    if said["status"] or said["broken"]:
        raise WrongAnswersError(
            f"{said['status']} answers with an error's status, {said['broken']} with none"
        )
    if not said["calls"]:
        raise WrongAnswersError("no call was answered")
    return Load(
        calls=said["calls"],
        seconds=said["microseconds"] / 1e6,
        p50=said["p50"] / 1e3,
        p99=said["p99"] / 1e3,
        cpu=cpu,
    )
