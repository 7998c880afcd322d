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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from scripts.benchmarks import credentials, measure, report, soak, stages, streams
from scripts.benchmarks.credentials import EGRESS_NAME
from scripts.benchmarks.handshakes import Handshakes
from scripts.benchmarks.handshakes import once as handshakes_once
from scripts.benchmarks.load import Wrk, WrongAnswersError
from scripts.benchmarks.measure import Measurement, Meter
from scripts.benchmarks.peers.direct import Direct
from scripts.benchmarks.peers.ghostunnel import Ghostunnel
from scripts.benchmarks.peers.haproxy import Haproxy
from scripts.benchmarks.peers.mesh import Mesh
from scripts.benchmarks.peers.nginx import Nginx
from scripts.benchmarks.peers.stunnel import Stunnel
from scripts.benchmarks.peers.target import Running, Site, Target
from scripts.benchmarks.programs import UnavailableError, program
from scripts.benchmarks.server import serving
from scripts.benchmarks.streams import Streamed
from scripts.benchmarks.streams import once as stream_once

Shown = TypeVar("Shown")

REFERENCES: Final[tuple[Target, ...]] = (Direct(), Nginx(), Mesh())
PEERS: Final[tuple[Target, ...]] = (Haproxy(), Stunnel(), Ghostunnel())
STAGES: Final[tuple[Target, ...]] = (
    *(Mesh(f"mesh-no-{name}", f"this mesh, without {name}", without=(name,)) for name in stages.STAGES),
    Mesh("mesh-no-stage", "this mesh, without all of these", without=tuple(stages.STAGES)),
    Mesh("mesh-fsync", "this mesh, every record on the disk", fsync="always"),
)
_STREAM_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    targets: tuple[Target, ...]
    stages: tuple[Target, ...]  # measured at `stage_connections` only, beside this mesh as it is
    connections: tuple[int, ...]
    rounds: int
    seconds: int
    workers: int

    @property
    def stage_connections(self) -> tuple[int, ...]:
        """The middle is enough to say what a stage costs."""
        return (16,) if 16 in self.connections else self.connections[-1:]  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was measured."""

    calls: list[Measurement]
    stages: list[Measurement]
    streams: list[Streamed]
    handshakes: list[Handshakes]
    missing: dict[str, str]


def main(arguments: Sequence[str]) -> int:
    """0 if everything that could be measured was measured and answered well."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="spiffe-mcp-bench-"))
    try:
        if options.soak:
            document = _soaked(plan, folder, options.soak * 60)
        else:
            outcome = _measured(plan, folder)
            document = _document(plan, outcome, time.monotonic() - begun)
            print("\n".join(report.tables(document)))
    except (WrongAnswersError, UnavailableError) as error:
        print(f"bench: {error}; logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _measured(plan: Plan, folder: Path) -> Outcome:
    wrk = Wrk(program("wrk"), folder)
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder))
        meter = Meter(wrk, server)
        issued = credentials.issue(folder / "credentials")
        site = Site(folder, server, issued, plan.workers)
        targets, missing = _started(plan.targets, site, meter, stack)
        calls = _rounds(meter, targets, plan, plan.connections)
        streams = [
            _told(stream_once(name, running, round_))
            for round_ in range(_STREAM_ROUNDS)
            for name, running in targets.items()
        ]
        handshakes = [
            _told(one)
            for name, running in targets.items()
            if (one := handshakes_once(name, running, issued.both(EGRESS_NAME), plan.seconds)) is not None
        ]
        beside, missing_stages = _started(plan.stages, site, meter, stack)
        ours = {name: running for name, running in targets.items() if name == report.OURS}
        measured = _rounds(meter, {**ours, **beside}, plan, plan.stage_connections) if beside else []
        return Outcome(calls, measured, streams, handshakes, {**missing, **missing_stages})


def _rounds(
    meter: Meter, targets: Mapping[str, Running], plan: Plan, connections: Sequence[int]
) -> list[Measurement]:
    measurements = []
    for one in measure.rounds(
        meter, targets, number=plan.rounds, connections=connections, seconds=plan.seconds
    ):
        _say(f"round {one.round + 1}: {one.target} at {one.connections}: {one.load}")
        measurements.append(one)
    return measurements


def _soaked(plan: Plan, folder: Path, seconds: int) -> dict[str, Any]:
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder))
        meter = Meter(Wrk(program("wrk"), folder), server)
        issued = credentials.issue(folder / "credentials")
        targets, _ = _started((Mesh(),), Site(folder, server, issued, plan.workers), meter, stack)
        looks = []
        for look in soak.soaked(meter, report.OURS, targets[report.OURS], seconds):
            _say(str(look.document()))
            looks.append(look.document())
    return {"machine": _machine(), "workers": plan.workers, "soak": looks}


def _started(
    wanted: Sequence[Target], site: Site, meter: Meter, stack: ExitStack
) -> tuple[Mapping[str, Running], dict[str, str]]:
    """The targets that this machine can run, running and warm; and why the others are not."""
    targets, missing = {}, {}
    for target in wanted:
        own = site.folder / target.name
        own.mkdir()
        _say(f"starting {target.name}")
        try:
            running = stack.enter_context(target.running(replace(site, folder=own)))
            meter.warm(running)
        except (UnavailableError, WrongAnswersError) as error:
            missing[target.name] = str(error)
            _say(f"{target.name} is not measured: {error}")
        else:
            targets[target.name] = running
    if report.OURS in missing:  # others may be missing: that is in the table
        raise UnavailableError(f"{report.OURS}: {missing[report.OURS]}")
    return targets, missing


def _document(plan: Plan, outcome: Outcome, seconds: float) -> dict[str, Any]:
    ratios = report.ratios(outcome.calls)
    stream = streams.ratio(outcome.streams, report.OURS, report.REFERENCE)
    if stream is not None:
        ratios["stream"] = round(stream, 3)
    return {
        "machine": _machine(),
        "workers": plan.workers,
        "rounds": plan.rounds,
        "seconds_each": plan.seconds,
        "seconds": round(seconds, 1),
        "titles": {target.name: target.title for target in (*plan.targets, *plan.stages)},
        "ratios": ratios,
        "points": [point.document() for point in report.points(outcome.calls)],
        "stages": [point.document() for point in report.points(outcome.stages)],
        "streams": streams.summary(outcome.streams),
        "handshakes": [one.document() for one in outcome.handshakes],
        "not_measured": outcome.missing,
    }


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _plan(options: argparse.Namespace) -> Plan:
    if options.quick:
        defaults = Plan(REFERENCES, (), (1, 16), 3, 3, options.workers)
    else:
        defaults = Plan((*REFERENCES, *PEERS), STAGES, (1, 16, 64, 256), 2, 2, options.workers)
    given = {name: getattr(options, name) for name in ("connections", "rounds", "seconds")}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "connections" in changed:
        changed["connections"] = tuple(changed["connections"])
    return replace(defaults, **changed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the reference and this mesh only; under three minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--connections", type=int, nargs="+", metavar="N")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--seconds", type=int, metavar="N", help="of each measurement")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes or threads on each side, of every target",
    )
    parser.add_argument(
        "--soak", type=int, metavar="MINUTES", help="only load this mesh so long, and watch its memory"
    )
    return parser


def _told(one: Shown) -> Shown:
    _say(str(one))
    return one


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
