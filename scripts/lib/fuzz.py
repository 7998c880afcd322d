"""Fuzzes the parsers of identity for as long as it is told; see `scripts/fuzz`.

Each input has a seed of its own, so that whatever fails is made again by its number. Not guided by coverage:
what reads the bytes is OpenSSL and Rust, which a fuzzer of Python does not see into.
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
DESCRIPTION: Final = "Hostile SPIFFE IDs, chains, bundles, SVIDs and updates, until the time is over."


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
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
