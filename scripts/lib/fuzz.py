"""Fuzzes the parsers for as long as it is told; see `scripts/fuzz`.

Each input has a seed of its own, so that whatever fails is made again by its number. With `--guided`, atheris
makes the choices in place of the seed, and goes where they lead to code that was not reached before. That
helps where Python reads the bytes (`message`, `answer`, `events`); certificates are read by OpenSSL and Rust,
which a fuzzer of Python does not see into.
"""  # noqa: INP001  scripts are no package

import argparse
import sys
import traceback
from collections.abc import Iterator
from itertools import count
from random import Random, SystemRandom
from time import monotonic
from typing import Final

from tests.fakes.targets import TARGETS, Target

SLOW: Final = (
    0.060  # seconds of CPU time; as in tests/property/test_verify_cost.py, and no chain may take more
)
DESCRIPTION: Final = """\
Hostile identities (SPIFFE IDs, chains, bundles, SVIDs, updates) and hostile messages (JSON, JSON-RPC, events,
HTTP), until the time is over."""


def seeds(first: int, seconds: float) -> Iterator[int]:
    """From `first` on, until the time is over."""
    end = monotonic() + seconds
    for seed in count(first):
        if monotonic() > end:
            return
        yield seed


def fails(target: Target, seed: int) -> bool:
    """Whether one input does, and on standard error what happened."""
    try:
        target(Random(seed))  # noqa: S311  to be repeated, not to be secret
    except Exception:  # noqa: BLE001  whatever it is, it is what we look for
        traceback.print_exc()
        return True
    return False


def main(arguments: list[str]) -> int:
    """1 if something failed."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=DESCRIPTION)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    parser.add_argument("--seed", type=int, help="the first input's number; a random one by default")
    parser.add_argument("--once", action="store_true", help="only that one input")
    parser.add_argument(
        "--guided",
        action="store_true",
        help="one target, by coverage; needs atheris in the virtual environment",
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if options.guided:
        if len(options.targets) != 1:
            parser.error("--guided takes one target")
        return _guided(options.targets[0], options.seconds)
    first = SystemRandom().randrange(2**32) if options.seed is None else options.seed
    return max(_run(name, first, options) for name in options.targets or TARGETS)


def _run(name: str, first: int, options: argparse.Namespace) -> int:
    tried = 0
    for seed in [first] if options.once else seeds(first, options.seconds):
        if fails(TARGETS[name], seed):
            sys.stderr.write(f"{name}: once more with scripts/fuzz {name} --seed {seed} --once\n")
            return 1
        tried += 1
    sys.stdout.write(f"{name}: {tried} inputs from seed {first}, nothing but values and refusals\n")
    return 0


class _Steered(Random):
    """Chooses as the fuzzer says; once it has said all, the first of everything."""

    def __init__(self, said: bytes) -> None:
        super().__init__(0)
        self._said = said
        self._place = 0

    def getrandbits(self, count: int) -> int:
        """The next so many bits of what it said."""
        size = (count + 7) // 8
        taken = self._said[self._place : self._place + size].ljust(size, b"\0")
        self._place += size
        return int.from_bytes(taken, "little") & ((1 << count) - 1)

    def random(self) -> float:
        """A fraction, likewise."""
        return self.getrandbits(53) / (1 << 53)


def _guided(name: str, seconds: float) -> int:
    """Until the time is over, or something fails: then atheris says what, and ends the process."""
    try:
        import atheris  # noqa: PLC0415  not among the locked dependencies
    except ImportError:
        sys.stderr.write("--guided needs atheris: .venv/bin/pip install 'atheris>=3'\n")
        return 2
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds:g}"], lambda said: TARGETS[name](_Steered(said)))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
