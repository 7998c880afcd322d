"""Processes of this machine for tests: alive until the test ends them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from spiffe_mcp.workload.process import Process


@contextmanager
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is alive until `end`, or the end of the block."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """It is gone, and so is its number."""
    running.kill()
    running.wait()


def ended(number: int | None = None) -> Process:
    """A process that has ended, held by its pidfd; it had this number."""
    with child() as running:
        return Process(number or running.pid, os.pidfd_open(running.pid))
