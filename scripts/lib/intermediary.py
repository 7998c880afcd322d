"""Runs the intermediary suite and says what fails; see `scripts/intermediary`."""  # noqa: INP001  scripts are no package

import argparse
import asyncio
import json
import os
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # before gRPC is loaded

from tests.intermediary import report
from tests.intermediary.check import Bench
from tests.intermediary.checks import CHECKS
from tests.intermediary.proxies import foreign, from_environment, plain, two_agents

DESCRIPTION: Final = """\
What fails against two agents and a plain proxy; then docs/reference/intermediary.md is written. With
INTERMEDIARY_URL and INTERMEDIARY_LISTEN set: what fails against that proxy, and nothing is written."""


async def _ran(proxy: str, running: AbstractAsyncContextManager[Bench]) -> tuple[dict[str, str], list[str]]:
    """What fails, and what was not asked; both are printed."""
    async with running as bench:
        failed = await report.failures(bench)
        skipped = [check.name for check in CHECKS if not check.needs <= bench.offers]
    asked = len(CHECKS) - len(skipped)
    sys.stdout.write(f"{proxy}: {asked - len(failed)} of {asked} pass\n")
    for check in CHECKS:
        if check.name in failed:
            sys.stdout.write(f"  {check.number:2} {check.name}: {failed[check.name].splitlines()[0]}\n")
    return failed, skipped


def _usual() -> int:
    """Two agents and a plain proxy; 1 if they are not what the tests say they are."""
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        ours, _ = asyncio.run(_ran("two agents", two_agents(Path(folder))))
    plainly, _ = asyncio.run(_ran("plain proxy", plain()))
    report.PAGE.write_text(report.page())
    expected = {check.name for check in CHECKS} - report.PASSED_BY_A_PLAIN_PROXY
    return int(bool(ours) or plainly.keys() != expected)


def main(arguments: list[str]) -> int:
    """1 if a check fails that should pass."""
    parser = argparse.ArgumentParser(prog="scripts/intermediary", description=DESCRIPTION)
    parser.add_argument("--json", type=Path, help="write what failed there, for a proxy of INTERMEDIARY_URL")
    parser.add_argument("--name", default="the proxy", help="how that proxy is called there")
    options = parser.parse_args(arguments)
    proxy = from_environment()
    if proxy is None:
        return _usual()
    failed, skipped = asyncio.run(_ran(options.name, foreign(proxy)))
    if options.json:
        said = {"proxy": options.name, "note": "", "failed": sorted(failed), "not_asked": skipped}
        options.json.write_text(json.dumps(said, indent=1) + "\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
