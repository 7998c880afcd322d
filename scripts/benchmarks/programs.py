"""Programs that a benchmark needs: whether they are here, how they are started, and that they are stopped.

Enters: command lines. Leaves: processes that run for as long as a block. Everything listens on loopback, on
ports of the kernel's choice. Knows nothing of what the programs do.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
START: Final = 30.0  # seconds until a program has to listen
STOP: Final = 5.0  # seconds that it has to stop, before it is killed
_POLL: Final = 0.02  # seconds


class UnavailableError(Exception):
    """Something cannot be measured on this machine; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    port: int
    host: str = HOST

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def program(name: str, *others: str) -> str:
    """The path of a program that goes by one of these names; raises `UnavailableError`."""
    for candidate in (name, *others):
        if (found := shutil.which(candidate)) is not None:
            return found
    raise UnavailableError(f"{name} is not on PATH")


def free_port() -> Address:
    """A port that the kernel has just had free, for programs that cannot ask it themselves."""
    with closing(socket.create_server((HOST, 0))) as listener:
        return Address(listener.getsockname()[1])


class Program:
    """A program that runs."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def first_line(self) -> str:
        """The first line on its standard output; raises `UnavailableError` if it ended without one."""
        if self._process.stdout is not None and (line := self._process.stdout.readline().strip()):
            return line
        raise UnavailableError(f"it did not start: {self._last_words()}")

    def until_listening(self, address: Address) -> None:
        """Wait until it accepts connections there; raises `UnavailableError` if that does not come about."""
        end = time.monotonic() + START
        while time.monotonic() < end and self._process.poll() is None:
            with closing(socket.socket()) as probe:
                if probe.connect_ex((address.host, address.port)) == 0:
                    return
            time.sleep(_POLL)
        raise UnavailableError(f"nobody listens on {address}: {self._last_words()}")

    def stop(self) -> None:
        """End it: it is asked to, and killed if it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) if lines else "it said nothing"


@contextmanager
def started(
    command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """The program, running; its standard output is a pipe, all else it says is in `log`."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=env,
            start_new_session=True,  # Ctrl-C is for us, who stop it
        )
    running = Program(process, log)
    try:
        yield running
    finally:
        running.stop()
