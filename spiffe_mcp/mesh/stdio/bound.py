"""A script: `python -I -S bound.py PARENT COMMAND [ARGUMENT ...]` becomes COMMAND, and dies with PARENT.

The kernel kills it when the agent ends, in whatever way (PR_SET_PDEATHSIG, prctl(2)): a server that outlived
its agent would hold its files and its ports, and nobody would know of it. The setting survives execve(2), but
not into a program that runs as somebody else; so there is no such program for it (PR_SET_NO_NEW_PRIVS).

It runs before the command and as it, so it imports nothing of the project.
"""

import ctypes
import os
import signal
import sys
from typing import Final, NoReturn

CANNOT: Final = 127  # as a shell says that there is no such command

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def main(parent: int, command: list[str]) -> NoReturn:
    """Become `command`, bound to `parent`, whose child this is."""
    libc = ctypes.CDLL(None, use_errno=True)
    # prctl(2): all of them unsigned long, and the unused ones zero.
    for setting in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(setting[0], *map(ctypes.c_ulong, (setting[1], 0, 0, 0))):
            _give_up(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before it could be bound to
        _give_up("the agent has ended")
    # The interpreter ignores these; execve(2) leaves what is ignored ignored.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, _environment())  # noqa: S606  whom the configuration names
    except OSError as error:
        _give_up(f"{command[0]}: {error.strerror}")


def _environment() -> dict[bytes, bytes]:
    """What was given: the interpreter adds to its own (PEP 538)."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123  nothing but what is needed is imported
        given = [pair.partition(b"=") for pair in file.read().split(b"\0") if pair]
    return {name: value for name, _, value in given}


def _give_up(why: str) -> NoReturn:
    sys.stderr.write(f"cannot be started: {why}\n")
    raise SystemExit(CANNOT)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
