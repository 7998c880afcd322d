"""The command: `scripts/bench --help`."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks import credentials, measure, report
from scripts.benchmarks.load import Wrk, WrongAnswersError
from scripts.benchmarks.measure import Measurement, Meter
from scripts.benchmarks.peers.direct import Direct
from scripts.benchmarks.peers.mesh import Mesh
from scripts.benchmarks.peers.nginx import Nginx
from scripts.benchmarks.peers.target import Running, Site, Target
from scripts.benchmarks.programs import UnavailableError, program
from scripts.benchmarks.server import Server, serving

QUICK: Final[tuple[Target, ...]] = (Direct(), Nginx(), Mesh())


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    targets: tuple[Target, ...]
    connections: tuple[int, ...]
    rounds: int
    seconds: int
    workers: int


def main(arguments: Sequence[str]) -> int:
    """0 if everything that could be measured was measured and answered well."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="spiffe-mcp-bench-"))
    try:
        measurements, missing = _measured(plan, folder)
    except (WrongAnswersError, UnavailableError) as error:
        print(f"bench: {error}; logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    document = _document(plan, measurements, missing, time.monotonic() - begun)
    _show(plan, measurements, document)
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _measured(plan: Plan, folder: Path) -> tuple[list[Measurement], dict[str, str]]:
    wrk = Wrk(program("wrk"), folder)
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder))
        meter = Meter(wrk, server)
        targets, missing = _started(plan, folder, server, stack)
        for name, running in targets.items():
            _say(f"warming up {name}")
            meter.warm(running)
        measurements = []
        for one in measure.rounds(
            meter, targets, number=plan.rounds, connections=plan.connections, seconds=plan.seconds
        ):
            _say(f"round {one.round + 1}: {one.target} at {one.connections}: {one.load}")
            measurements.append(one)
        return measurements, missing


def _started(
    plan: Plan, folder: Path, server: Server, stack: ExitStack
) -> tuple[Mapping[str, Running], dict[str, str]]:
    """The targets that this machine can run, running; and why the others are not."""
    issued = credentials.issue(folder / "credentials")
    targets, missing = {}, {}
    for target in plan.targets:
        own = folder / target.name
        own.mkdir()
        _say(f"starting {target.name}")
        try:
            site = Site(own, server, issued, plan.workers)
            targets[target.name] = stack.enter_context(target.running(site))
        except UnavailableError as error:
            missing[target.name] = str(error)
            _say(f"{target.name} is not measured: {error}")
    return targets, missing


def _document(
    plan: Plan, measurements: Sequence[Measurement], missing: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "workers": plan.workers,
        "rounds": plan.rounds,
        "seconds_each": plan.seconds,
        "seconds": round(seconds, 1),
        "ratios": report.ratios(measurements),
        "points": [point.document() for point in report.points(measurements)],
        "not_measured": dict(missing),
    }


def _show(plan: Plan, measurements: Sequence[Measurement], document: Mapping[str, Any]) -> None:
    titles = {target.name: target.title for target in plan.targets}
    print("\n".join(report.table(report.points(measurements), titles)))
    print()
    for name, ratio in document["ratios"].items():
        print(f"{name}: {ratio}")


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(QUICK, tuple(options.connections), options.rounds, options.seconds, options.workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the reference and this mesh only; under three minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=int, default=3, metavar="N", help="of each measurement")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes or threads on each side, of every target",
    )
    return parser


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
