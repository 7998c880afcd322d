"""A process that is bound to its agent ends with it, even when the agent is killed."""

import os
import signal
import subprocess
import sys

from spiffe_mcp.mesh.stdio import bound
from tests.unit.mesh.stdio.bridged import running, until

# An agent: starts the script with its own number, passes on what it says, and waits.
AGENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "sleep", "3600"])
print(child.pid, flush=True)
child.wait()
"""


def script(parent: int, *command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-I", "-S", bound.__file__, str(parent), *command],
        env=environment,
        capture_output=True,
        check=False,
        timeout=30,
    )


async def test_whoever_kills_the_agent_kills_its_processes() -> None:
    agent = an_agent()
    assert agent.stdout is not None
    with agent.stdout as said:
        child = int(said.readline())
        assert running(child)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        await until(lambda: not running(child))


def an_agent() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", AGENT, bound.__file__], stdout=subprocess.PIPE)


def test_it_does_not_begin_for_an_agent_that_has_ended() -> None:
    ran = script(1, "true")
    assert (ran.returncode, ran.stderr) == (bound.CANNOT, b"cannot be started: the agent has ended\n")


def test_a_command_that_is_not_there_is_said() -> None:
    ran = script(os.getpid(), "no-such-command", PATH="/bin")
    assert ran.returncode == bound.CANNOT
    assert ran.stderr == b"cannot be started: no-such-command: No such file or directory\n"


def test_the_command_has_the_environment_as_it_was_given() -> None:
    ran = script(os.getpid(), "/usr/bin/env", A="1", B="")
    assert sorted(ran.stdout.splitlines()) == [b"A=1", b"B="]
