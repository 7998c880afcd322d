"""One running process and its three pipes: lines in, lines out, what it complains of into the log, its end.

It knows nothing of what the lines say. Its end comes in one of two ways, and is awaited here in both: of
itself, or because it is no longer wanted (2026-07-28 basic/transports/stdio "Shutdown": its input is closed,
then SIGTERM, then SIGKILL). Whatever it has started and left behind in its process group ends with it.
"""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.stdio import LineDecoder, encode_line
from spiffe_mcp.mesh.stdio.bound import CANNOT
from spiffe_mcp.mesh.stdio.launch import launch
from spiffe_mcp.mesh.stdio.program import Program
from spiffe_mcp.mesh.stdio.stderr import StderrLines
from spiffe_mcp.workload.process import Process as Held

PATIENCE: Final = 2.0  # seconds after each request to end, before the next one is less polite
LAST_WORDS: Final = 1.0  # seconds for what is still in its pipes, once it has ended
MAX_UNSENT: Final = 8 * 1024 * 1024  # bytes that it may leave unread

_LOG: Final = logging.getLogger(__name__)


class Process:
    """A process of a program, from its start; `run` it until it has ended. `name` is for the log."""

    def __init__(
        self, name: str, popen: "subprocess.Popen[bytes]", hear: Callable[[bytes], None], errors: StderrLines
    ) -> None:
        self.name = f"{name}[{popen.pid}]"
        self._popen = popen
        self._held = Held(popen.pid, os.pidfd_open(popen.pid))
        self._exited = asyncio.Event()
        self._changed = asyncio.Event()  # it has ended, says nothing more, or is not wanted
        self._is_wanted = True
        self._is_faulty = False
        self._output = _Output(hear, self._changed.set, self.end)
        self._errors = _Errors(self.name, errors)
        self._input: asyncio.WriteTransport
        # Who closes each pipe: its file, until a transport has it.
        self._closers = [file.close for file in (popen.stdin, popen.stdout, popen.stderr) if file is not None]
        self._why = Refused(Reason.STDIO_ENDED)

    @classmethod
    async def start(
        cls, name: str, program: Program, own: Mapping[str, str], hear: Callable[[bytes], None]
    ) -> Self:
        """A process of `program`, of which `hear` is told every line; raises `Refused(STDIO_NOT_STARTED)`."""
        process = cls(name, launch(program, own), hear, StderrLines(program.secrets))
        try:
            await process._connect()
        except BaseException:
            process._finish()
            raise
        _LOG.info("%s: started", process.name)
        return process

    async def _connect(self) -> None:
        loop, pipes = asyncio.get_running_loop(), self._popen
        self._held.on_exit(self._on_exit)
        self._input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipes.stdin)
        self._closers[0] = self._input.close
        output, _ = await loop.connect_read_pipe(lambda: self._output, pipes.stdout)
        self._closers[1] = output.close
        errors, _ = await loop.connect_read_pipe(lambda: self._errors, pipes.stderr)
        self._closers[2] = errors.close

    @property
    def wanted(self) -> bool:
        """Whether it runs, as far as is known, and is to go on."""
        return not self._changed.is_set()

    @property
    def failed(self) -> bool:
        """Whether it ended, or is ended, for a reason of its own."""
        return self._is_wanted or self._is_faulty

    def write(self, message: bytes) -> None:
        """Send one message; raises `Refused`: STDIO_ENDED, STDIO_STUCK. One that does not read is ended."""
        if not self.wanted:
            raise self._why
        if self._input.get_write_buffer_size() > MAX_UNSENT:
            self.end(Refused(Reason.STDIO_STUCK, f"more than {MAX_UNSENT} bytes"))
            raise self._why
        self._input.write(encode_line(message))

    def end(self, why: Refused | None = None) -> None:
        """It is not wanted any more; `why` is what those learn who still wait for it."""
        if why is not None and self.wanted:
            _LOG.error("%s: %s", self.name, why)
            self._why, self._is_faulty = why, True
        self._is_wanted = False
        self._changed.set()

    async def run(self) -> Refused:
        """Return once it has ended, with what that means to those who wait. Cancelled, it ends it at once."""
        try:
            await self._changed.wait()
            await self._persuaded()
            await _within(LAST_WORDS, self._output.over)
        finally:
            self._finish()
        return self._why

    async def _persuaded(self) -> None:
        self._input.close()
        for which in (signal.SIGTERM, signal.SIGKILL):
            if not await _within(PATIENCE, self._exited):
                self._signal(which)
        await self._exited.wait()
        # While it is not waited for, its number is its own, and that of its group.
        self._signal(signal.SIGKILL)

    def _finish(self) -> None:
        self._signal(signal.SIGKILL)
        status = self._popen.wait()
        self._held.close()
        for close in self._closers:
            close()
        self._errors.finish()
        if self._is_wanted and status == CANNOT:
            self._why = Refused(Reason.STDIO_NOT_STARTED, "see its standard error")
        level = logging.WARNING if self._is_wanted else logging.INFO
        _LOG.log(level, "%s: ended, %s", self.name, _meaning(status))

    def _signal(self, which: signal.Signals) -> None:
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):  # nobody is left in its group
                os.killpg(self._popen.pid, which)

    def _on_exit(self) -> None:
        self._exited.set()
        self._changed.set()


class _Output(asyncio.Protocol):
    def __init__(
        self,
        hear: Callable[[bytes], None],
        ended: Callable[[], None],
        garbled: Callable[[Refused], None],
    ) -> None:
        self.over = asyncio.Event()
        self._hear = hear
        self._ended = ended
        self._garbled = garbled
        self._decoder: LineDecoder | None = LineDecoder()

    def data_received(self, data: bytes) -> None:
        if self._decoder is None:
            return
        try:
            for line in self._decoder.feed(data):
                self._hear(line)
        except Refused as refused:
            self._decoder = None
            self._garbled(refused)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  over is over
        self.over.set()
        self._ended()


class _Errors(asyncio.Protocol):
    def __init__(self, name: str, lines: StderrLines) -> None:
        self._name = name
        self._lines = lines
        self._clock = asyncio.get_running_loop().time

    def data_received(self, data: bytes) -> None:
        self._log(self._lines.feed(data, self._clock()))

    def finish(self) -> None:
        self._log(self._lines.finish(self._clock()))

    def _log(self, lines: list[str]) -> None:
        for line in lines:
            _LOG.info("%s: %s", self._name, line)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether `event` happened in that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _meaning(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
