"""The command; see `scripts/conformance`."""

import argparse
import asyncio
import os
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # before gRPC is loaded

from scripts.conformance_suite import suite
from scripts.conformance_suite.comparison import differences, stale, unexpected
from scripts.conformance_suite.meshed import meshed
from scripts.conformance_suite.packages import Packages, packages
from scripts.conformance_suite.page import Run, page
from scripts.conformance_suite.results import Results
from scripts.conformance_suite.suite import Revision
from scripts.fetching import UnavailableError

PAGE: Final = Path(__file__).parents[2] / "docs/reference/conformance.md"
EXPECTED: Final = Path(__file__).with_name("expected.toml")
# Those of a client that are not about OAuth.
CLIENT: Final = {
    Revision.LEGACY: ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"),
    Revision.MODERN: (
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "json-schema-2020-12-preservation",
    ),
}
DESCRIPTION: Final = """\
Run the official MCP conformance suite directly and through two agents, and compare. Writes
docs/reference/conformance.md; with --check it fails if that would change. Exits with 1 where a check differs
that is not in scripts/conformance_suite/expected.toml, with 3 where the suite cannot be had. Needs npm."""


@asynccontextmanager
async def _everything(fetched: Packages) -> AsyncIterator[str]:
    """The SDK's server, new; its URL."""
    command = (sys.executable, "-m", "scripts.conformance_suite.everything", str(fetched.server))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None  # noqa: S101  asked for
    try:
        if not (line := await process.stdout.readline()):
            raise UnavailableError("the everything-server did not start")
        yield line.decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _of_server(fetched: Packages, revision: Revision, folder: Path) -> Run:
    async with _everything(fetched) as url:
        direct = await suite.against_server(fetched, url, revision, folder / "direct")
    async with _everything(fetched) as url, meshed(url, folder) as through:
        # By the same name as directly: whether a server lets itself be rebound is asked of localhost only.
        local = through.replace("127.0.0.1", "localhost")
        behind = await suite.against_server(fetched, local, revision, folder / "meshed")
    return Run(f"server {revision.value}", direct, behind)


async def _of_client(fetched: Packages, revision: Revision, folder: Path) -> Run:
    plain = [sys.executable, str(fetched.client)]
    through = [sys.executable, "-m", "scripts.conformance_suite.client", str(fetched.client)]
    direct: dict[str, Results] = {}
    behind: dict[str, Results] = {}
    for scenario in CLIENT[revision]:
        for found, command, where in ((direct, plain, "direct"), (behind, through, "meshed")):
            out = folder / where / scenario
            found[scenario] = await suite.with_client(fetched, command, scenario, revision, out)
    return Run(f"client {revision.value}", _joined(direct), _joined(behind))


def _joined(results: Mapping[str, Results]) -> Results:
    return {scenario: checks for found in results.values() for scenario, checks in found.items()}


async def _all() -> list[Run]:
    fetched = packages()
    runs = []
    for of_side in (_of_server, _of_client):
        for revision in Revision:
            with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
                runs.append(await of_side(fetched, revision, Path(folder)))
    return runs


def _judge(runs: Sequence[Run], expected: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether everything is as expected; what is not, is printed."""
    wrong = []
    for run in runs:
        found, reasons = differences(run.direct, run.meshed), expected.get(run.name, {})
        wrong += [f"{run.name}: {one}" for one in unexpected(found, reasons)]
        wrong += [f"{run.name}: {name} does not differ any more" for name in stale(found, reasons)]
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    return not wrong


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=DESCRIPTION)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page would change")
    options = parser.parse_args(arguments)
    expected = tomllib.loads(EXPECTED.read_text())
    try:
        runs = asyncio.run(_all())
    except UnavailableError as error:
        sys.stderr.write(f"scripts/conformance: {error}\n")
        return 3
    written = page(runs, expected)
    sys.stdout.write(written)
    is_right = _judge(runs, expected)
    if options.check and is_right and written != PAGE.read_text():
        sys.stderr.write("docs/reference/conformance.md says something else\n")
        return 1
    if not options.check:
        PAGE.write_text(written)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
