"""One process of this machine, held by a pidfd: a PID alone is a number that the kernel gives out again.

Enters: a descriptor that the kernel tied to a process (SO_PEERPIDFD, pidfd_open(2)). Leaves: whether that
process still runs, and word of its end. The rule that everything here serves: whatever was learned by the
*number* of a process counts only if the process is alive *after* it was learned. A number is not given out
again before its process is gone, so until then all that was learned was learned of this process
(pidfd_open(2)).

A process is also not the same to ask about once its user is another: it may have run a set-user-ID program,
while whoever it handed a connection to is still who it was before.

Knows nothing of sockets, pods and identities.
"""

import asyncio
import errno
import os
import re
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from spiffe_mcp.errors import Reason, Refused

# pidfd_open(2): no such process, or the number of a thread that leads no process (EINVAL, since 6.15 ENOENT).
GONE: Final = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})

# The second number of each is the effective one (proc(5)), which SO_PEERCRED gives too, and SPIRE goes by.
_OWNER: Final = re.compile(r"^Uid:\t[0-9]+\t([0-9]+)\t.*\nGid:\t[0-9]+\t([0-9]+)\t", re.MULTILINE)


class Owner(NamedTuple):
    """The user and the group that a process acts as."""

    uid: int
    gid: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Those of the process that has this number now; raises `Refused`: WORKLOAD_EXITED, _UNATTESTED."""
        try:
            status = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
        except OSError as error:
            raise Refused(Reason.WORKLOAD_EXITED, f"pid {pid}: {error.strerror}") from None
        found = _OWNER.search(status)
        if found is None:
            raise Refused(Reason.WORKLOAD_UNATTESTED, f"pid {pid}: its user cannot be told")
        return cls(int(found[1]), int(found[2]))


class Process:
    """A process, as long as it is held: the pidfd is open until `close`, which may be called again."""

    def __init__(self, pid: int, pidfd: int, owner: Owner | None = None) -> None:
        """`pidfd` is this object's to close from now on. `owner` is who it has to stay; None: whoever."""
        self.pid: Final = pid
        self._owner = owner
        self._pidfd: int | None = pidfd
        self._loop: asyncio.AbstractEventLoop | None = None  # where the end is waited for

    @classmethod
    def open(cls, pid: int) -> Self:
        """The process that has the number `pid` now; raises `Refused`: WORKLOAD_EXITED, _UNATTESTED."""
        try:
            return cls(pid, os.pidfd_open(pid))
        except OSError as error:
            reason = Reason.WORKLOAD_EXITED if error.errno in GONE else Reason.WORKLOAD_UNATTESTED
            raise Refused(reason, f"pid {pid}: {error.strerror}") from None

    def duplicate(self) -> "Process":
        """The same process, held once more; raises `Refused(WORKLOAD_UNATTESTED)`."""
        try:
            return Process(self.pid, os.dup(self._held()), self._owner)
        except OSError as error:
            raise Refused(Reason.WORKLOAD_UNATTESTED, f"pid {self.pid}: {error.strerror}") from None

    def alive(self) -> bool:
        """Whether it still runs. A zombie does not."""
        poll = select.poll()
        poll.register(self._held(), select.POLLIN)
        return not poll.poll(0)

    def check_alive(self) -> None:
        """Return if what was learned by the number until now was of this process; raises `Refused`."""
        if not self.alive():
            raise Refused(Reason.WORKLOAD_EXITED, f"pid {self.pid} has ended")

    def check_unchanged(self) -> None:
        """As `check_alive`, and it still acts as who it was; raises `Refused`, also WORKLOAD_UNATTESTED."""
        owner = self._owner and Owner.of(self.pid)
        self.check_alive()
        if owner != self._owner:
            raise Refused(Reason.WORKLOAD_UNATTESTED, f"pid {self.pid} acts as another user or group now")

    def on_exit(self, ended: Callable[[], None]) -> None:
        """Call `ended` once, from the event loop, when the process ends or if it has. For one caller only."""
        if self._loop is not None:
            raise RuntimeError("somebody waits for the end of this process already")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._held(), self._ended, ended)

    async def exited(self) -> None:
        """Return when the process has ended; as `on_exit`."""
        ended = asyncio.Event()
        self.on_exit(ended.set)
        await ended.wait()

    def close(self) -> None:
        """Let go of it; nobody is told of its end any more."""
        self._stop_waiting()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _ended(self, tell: Callable[[], None]) -> None:
        self._stop_waiting()  # the descriptor stays readable for ever
        tell()

    def _stop_waiting(self) -> None:
        if self._loop is not None and self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)

    def _held(self) -> int:
        if self._pidfd is None:
            raise RuntimeError("the process was let go of")
        return self._pidfd
