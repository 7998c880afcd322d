"""The process that a PID file names: for a workload that does not call us, but is called.

A file is a weaker word than the kernel's. It is taken for what it says under these conditions, each of which
fails closed:

 1. It holds one number, and the process is held by a pidfd from here on.
 2. Nobody else may have written it: it belongs to root, to the agent's own user or to that of the process,
    and neither group nor others may write to it.
 3. The process began before the file was written. One that began later has only inherited the number of the
    process that wrote it.
 4. The process is alive still, after (2) and (3) were looked up by its number.
"""

import os
import re
import stat
import time
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.workload.process import Owner, Process

_MAX_BYTES: Final = 32
_MAX_PID: Final = 2**31 - 1  # what a pid_t holds; Linux itself stops at 2^22 (proc(5))
_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,9}\n?")
# Both times are those of the kernel's tick: up to 10 ms behind.
_TICK_SECONDS: Final = 0.05
_START_TIME: Final = 22 - 3  # field 22 of /proc/<pid>/stat, counted from behind the name (proc(5))


def named_process(path: Path) -> Process:
    """The process that the file at `path` names; raises `Refused`: WORKLOAD_PID_FILE, WORKLOAD_EXITED."""
    number, written = _read(path)
    process = Process.open(number)  # (1)
    try:
        _check_owner(path, written, Owner.of(number).uid)  # (2)
        _check_age(path, written, number)  # (3)
        process.check_alive()  # (4)
    except BaseException:
        process.close()
        raise
    return process


def _read(path: Path) -> tuple[int, os.stat_result]:
    """The number and what the file itself says, of one and the same file."""
    try:
        # No link is followed, and nothing that is no file (a FIFO, say) holds the reader up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            text = os.read(descriptor, _MAX_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(Reason.WORKLOAD_PID_FILE, f"{path}: {error.strerror}") from None
    if not _NUMBER.fullmatch(text) or int(text) > _MAX_PID:
        raise Refused(Reason.WORKLOAD_PID_FILE, f"{path}: does not hold one PID")
    return int(text), status


def _check_owner(path: Path, file: os.stat_result, user: int) -> None:
    if file.st_uid not in (0, os.geteuid(), user):
        raise Refused(Reason.WORKLOAD_PID_FILE, f"{path}: belongs to uid {file.st_uid}")
    if file.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused(Reason.WORKLOAD_PID_FILE, f"{path}: others than its owner may write to it")


def _check_age(path: Path, file: os.stat_result, pid: int) -> None:
    if _started(pid) > file.st_mtime + _TICK_SECONDS:
        raise Refused(Reason.WORKLOAD_PID_FILE, f"{path}: pid {pid} is younger than the file")


def _started(pid: int) -> float:
    """When the process began, in seconds since 1970, by today's clock."""
    # The name stands in parentheses and may hold any character: what follows it begins after the last one.
    fields = _stat(pid).rpartition(")")[2].split()
    since_boot = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot
    return time.clock_gettime(time.CLOCK_REALTIME) - age


def _stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError as error:
        raise Refused(Reason.WORKLOAD_EXITED, f"pid {pid}: {error.strerror}") from None
