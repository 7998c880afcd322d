"""A process is held by its pidfd: alive or not, its end, and nothing left open."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.workload.process import Owner, Process


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its standard input does."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        yield child


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_process_that_runs_is_alive(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    process.check_alive()
    assert process.alive()
    process.close()


def test_a_process_that_has_ended_is_not(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    end(child)
    assert not process.alive()
    with pytest.raises(Refused) as refused:
        process.check_alive()
    assert refused.value.reason is Reason.WORKLOAD_EXITED
    process.close()


def test_a_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    """Its number is not given out again before it is waited for, but it calls nobody any more."""
    process = Process.open(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note
    assert not process.alive()
    process.close()


def test_a_process_that_acts_as_who_it_was_is_unchanged(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid, os.pidfd_open(child.pid), Owner.of(child.pid))
    assert Owner.of(child.pid) == (os.geteuid(), os.getegid())
    process.check_unchanged()
    process.close()


@pytest.mark.parametrize("changed", ["uid", "gid"])
def test_a_process_that_acts_as_another_is_not(child: subprocess.Popen[bytes], changed: str) -> None:
    """Neither is the same process, held once more."""
    owner = Owner.of(child.pid)
    before = owner._replace(**{changed: 4711})
    process = Process(child.pid, os.pidfd_open(child.pid), before)
    for held in (process, process.duplicate()):
        held.check_alive()
        with pytest.raises(Refused) as refused:
            held.check_unchanged()
        assert refused.value.reason is Reason.WORKLOAD_UNATTESTED
        held.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_what_counts_is_who_it_acts_as() -> None:
    """As a set-user-ID program does: the real user stays, the effective one is another (credentials(7))."""
    become = "import os, sys; sys.stdin.read(1); os.seteuid(1001); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", become], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        process = Process(running.pid, os.pidfd_open(running.pid), Owner.of(running.pid))
        process.check_unchanged()
        running.stdin.write(b".")
        running.stdin.flush()
        running.stdout.readline()
        with pytest.raises(Refused) as refused:
            process.check_unchanged()
        assert refused.value.reason is Reason.WORKLOAD_UNATTESTED
        process.close()


def test_the_end_of_a_process_is_the_reason_before_its_user(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid, os.pidfd_open(child.pid), Owner.of(child.pid))
    end(child)
    with pytest.raises(Refused) as refused:
        process.check_unchanged()
    assert refused.value.reason is Reason.WORKLOAD_EXITED
    process.close()


def test_a_number_that_no_process_has_cannot_be_opened(child: subprocess.Popen[bytes]) -> None:
    end(child)
    with pytest.raises(Refused) as refused:
        Process.open(child.pid)
    assert refused.value.reason is Reason.WORKLOAD_EXITED


def test_a_thread_is_not_a_process() -> None:
    """Its number is one of the same numbers."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(Refused) as refused:
        Process.open(pool.submit(threading.get_native_id).result())
    assert refused.value.reason is Reason.WORKLOAD_EXITED


async def test_the_end_is_told_once_and_then_no_more(child: subprocess.Popen[bytes]) -> None:
    process, told = Process.open(child.pid), asyncio.Event()
    calls: list[int] = []

    def ended() -> None:
        calls.append(1)
        told.set()

    process.on_exit(ended)
    end(child)
    await told.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert calls == [1]
    process.close()


async def test_an_end_before_anybody_waits_is_told(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    end(child)
    await process.exited()
    process.close()


async def test_nobody_is_told_of_a_process_that_was_let_go_of(child: subprocess.Popen[bytes]) -> None:
    process, other = Process.open(child.pid), Process.open(child.pid)
    process.on_exit(lambda: pytest.fail("told"))
    process.close()
    end(child)
    await other.exited()
    other.close()


async def test_only_one_waits_for_the_end(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    process.on_exit(lambda: None)
    with pytest.raises(RuntimeError):
        process.on_exit(lambda: None)
    process.close()


def test_the_descriptor_is_closed_once(child: subprocess.Popen[bytes]) -> None:
    before = descriptors()
    process = Process.open(child.pid)
    assert descriptors() == before + 1
    process.close()
    taken = os.open("/dev/null", os.O_RDONLY)  # gets the number that was just closed
    process.close()
    os.fstat(taken)
    os.close(taken)
    assert descriptors() == before


def test_a_duplicate_holds_the_same_process_by_itself(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    duplicate = process.duplicate()
    process.close()
    assert duplicate.alive()
    end(child)
    assert not duplicate.alive()
    assert duplicate.pid == child.pid
    duplicate.close()


def test_what_was_let_go_of_answers_no_question(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    process.close()
    with pytest.raises(RuntimeError):
        process.alive()


def test_a_pidfd_does_not_leak_into_programs_that_are_started(child: subprocess.Popen[bytes]) -> None:
    process = Process.open(child.pid)
    held = process._pidfd
    assert held is not None
    assert not os.get_inheritable(held)
    process.close()
