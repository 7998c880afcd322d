"""`spiffe-mcp` as a process of its own: run to its end, or until it is told to stop."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

COMMAND: Final = (sys.executable, "-m", "spiffe_mcp")
STOP_TIMEOUT: Final = 10.0  # seconds; what is slower hangs


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command's end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def python(code: str) -> str:
    """What a Python process of its own prints that runs `code`."""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


class Command:
    """A command that runs. `stdout` holds the lines that were read so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.stdout: list[str] = []

    @property
    def pid(self) -> int:
        """Which process it is."""
        return self._process.pid

    async def line(self, beginning: str = "") -> str:
        """The next line of its standard output that begins so."""
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            self.stdout.append(line)
            if line.strip().startswith(beginning):
                return line.strip()
        raise AssertionError(f"ended with {await self._process.wait()}: {''.join(self.stdout)}")

    async def ready(self) -> Any:
        """What an agent announces."""
        return json.loads(await self.line("{"))

    def signal(self, which: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(which)

    async def stopped(self) -> int:
        """Its exit code after SIGTERM."""
        self._process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code; something has told it to end."""
        async with asyncio.timeout(STOP_TIMEOUT):
            return await self._process.wait()


@asynccontextmanager
async def running(
    *arguments: str | Path, log: Path, descriptors: int | None = None
) -> AsyncIterator[Command]:
    """The command, until the block ends; its standard error goes to `log`.

    It may open as many files as `descriptors` says, and cannot raise that.
    """
    limited = () if descriptors is None else ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *limited, *COMMAND, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
