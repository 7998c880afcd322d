"""One run of the suite, against a server or with a client.

Enters: the packages, what to run, a folder. Leaves: `Results`. Whether checks fail is no matter here.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from scripts.conformance_suite.packages import Packages
from scripts.conformance_suite.results import Results, read
from scripts.fetching import UnavailableError

TIMEOUT: Final = 300.0  # seconds for one run


class Revision(Enum):
    """The revisions whose requirements the suite has frozen."""

    LEGACY = "2025-11-25"
    MODERN = "2026-07-28"


async def against_server(packages: Packages, url: str, revision: Revision, folder: Path) -> Results:
    """Every server scenario that `revision` requires, and those that the suite runs beside them."""
    return await _run(packages, ["server", "--url", url, "--requirements", revision.value], folder)


async def with_client(
    packages: Packages, command: Sequence[str], scenario: str, revision: Revision, folder: Path
) -> Results:
    """One client scenario; the suite starts `command` with the URL of its own server as last argument."""
    words = ["client", "--command", " ".join(command), "--scenario", scenario]
    return await _run(packages, [*words, "--spec-version", revision.value], folder)


async def _run(packages: Packages, arguments: Sequence[str], folder: Path) -> Results:
    process = await asyncio.create_subprocess_exec(
        packages.node,
        packages.suite,
        *arguments,
        "--output-dir",
        folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(os.environ),
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not (results := read(folder)):
        raise UnavailableError(f"the suite said: {said.decode(errors='replace').strip()[-500:]}")
    return results


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Ours, without proxies: everything is on loopback."""
    return {name: value for name, value in inherited.items() if not name.lower().endswith("_proxy")}
