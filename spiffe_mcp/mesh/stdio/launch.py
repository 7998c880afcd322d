"""Starting a program: three pipes, an environment of its own, a group of its own, and nothing else.

It gets no descriptor of the agent (`close_fds`), no variable that was not chosen, no terminal to be
interrupted from, and it ends when the agent does (`bound`).
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio import bound
from spiffe_mcp.mesh.stdio.program import Program

_BOUND: Final = (sys.executable, "-I", "-S", bound.__file__)


def launch(program: Program, own: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """A process of `program`; `own` is the agent's environment. Raises `Refused(STDIO_NOT_STARTED)`.

    From the main thread only: the kernel takes the end of the thread that forked for the parent's
    (PR_SET_PDEATHSIG, prctl(2)).
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a process that is bound to a thread ends with it")
    try:
        return subprocess.Popen(  # noqa: S603  whom the configuration names; no shell reads it
            [*_BOUND, str(os.getpid()), *program.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=program.cwd,
            env=program.environment(own),
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused(Reason.STDIO_NOT_STARTED, error.strerror or type(error).__name__) from None
