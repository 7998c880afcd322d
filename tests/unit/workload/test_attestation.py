"""Who connected, by the kernel's word: for every answer of the kernel that there is, and on real sockets."""

import errno
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.workload.attestation import SO_PEERPIDFD, Attested, Pods, attest, check_kernel
from spiffe_mcp.workload.cgroup import PodUid
from spiffe_mcp.workload.process import Process

UID = "2c48913c-b29f-11e7-9350-020968147796"
CONNECT = """
import os, socket, sys
if sys.argv[3:]:  # here and not by whoever starts it: another user may not even read the interpreter
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
if sys.argv[2] == "stay":
    connection.recv(1)
"""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")


class Kernel:
    """A socket whose kernel answers as the test says; `pidfd` is a process, or the error there is instead."""

    def __init__(self, pid: int, pidfd: int | OSError, uid: int = 1001, gid: int = 1002) -> None:
        self._credentials = struct.pack("iII", pid, uid, gid)
        self._pidfd = pidfd

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        assert level == socket.SOL_SOCKET
        if optname == socket.SO_PEERCRED:
            return self._credentials[:buflen]
        assert optname == SO_PEERPIDFD
        if isinstance(self._pidfd, OSError):
            raise self._pidfd
        return struct.pack("i", self._pidfd)[:buflen]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        yield child


def pidfd_of_an_ended_process() -> tuple[int, int]:
    child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(child.pid)
    child.wait()
    return child.pid, pidfd


def proc(folder: Path, pid: int, cgroups: str) -> Pods:
    """What a kernel might say of the control groups of one process."""
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "cgroup").write_text(cgroups)
    return Pods(folder)


def refusal(kernel: Kernel, pods: Pods | None = None) -> Reason:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Refused) as refused:
        attest(kernel, pods)
    given = (
        0 if isinstance(kernel._pidfd, OSError) or refused.value.reason is Reason.WORKLOAD_PID_UNKNOWN else 1
    )
    assert len(list(Path("/proc/self/fd").iterdir())) == before - given, "the pidfd was closed"
    return refused.value.reason


# -- answers of the kernel ----------------------------------------------------------------------------------


def test_a_process_is_what_the_kernel_says_it_is(child: subprocess.Popen[bytes]) -> None:
    attested = attest(Kernel(child.pid, os.pidfd_open(child.pid)), None)
    assert (attested.process.pid, attested.uid, attested.gid, attested.pod) == (child.pid, 1001, 1002, None)
    assert str(attested) == f"pid {child.pid} uid 1001 gid 1002"
    attested.process.close()


def test_a_process_in_a_pod(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    pods = proc(tmp_path, child.pid, f"0::/kubepods/pod{UID}/container\n")
    attested = attest(Kernel(child.pid, os.pidfd_open(child.pid)), pods)
    assert attested.pod == PodUid(UID)
    attested.process.close()


def test_a_process_outside_our_pid_namespace_is_refused() -> None:
    """The kernel gives such a process the number 0, and would give us a descriptor of it nevertheless."""
    assert refusal(Kernel(0, OSError("never asked"))) is Reason.WORKLOAD_PID_UNKNOWN


def test_a_kernel_that_cannot_name_the_process_is_refused() -> None:
    """No other way is tried: a number may have passed on by the time it is looked up."""
    answer = OSError(errno.ENOPROTOOPT, "Protocol not available")
    assert refusal(Kernel(os.getpid(), answer)) is Reason.WORKLOAD_KERNEL


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL])
def test_a_process_that_is_gone_when_it_is_asked_for_is_refused(number: int) -> None:
    assert refusal(Kernel(os.getpid(), OSError(number, "gone"))) is Reason.WORKLOAD_EXITED


def test_without_a_descriptor_to_spare_nobody_is_attested() -> None:
    assert refusal(Kernel(os.getpid(), OSError(errno.EMFILE, "too many"))) is Reason.WORKLOAD_UNATTESTED


def test_a_number_that_has_passed_on_is_refused(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """The caller has ended, and a process of another pod has its number now."""
    _, pidfd = pidfd_of_an_ended_process()
    pods = proc(tmp_path, child.pid, f"0::/kubepods/pod{UID}/container\n")
    assert pods.of(child.pid) == PodUid(UID)
    assert refusal(Kernel(child.pid, pidfd), pods) is Reason.WORKLOAD_EXITED


def test_a_process_that_has_ended_is_refused() -> None:
    pid, pidfd = pidfd_of_an_ended_process()
    assert refusal(Kernel(pid, pidfd)) is Reason.WORKLOAD_EXITED
    assert refusal(Kernel(pid, os.pidfd_open(os.getpid())), Pods()) is Reason.WORKLOAD_EXITED


@pytest.mark.parametrize(
    ("cgroups", "reason"),
    [
        ("0::/user.slice\n", Reason.WORKLOAD_NO_POD),
        (f"0::/pod{UID}/a/pod{UID[:-1]}0/b\n", Reason.WORKLOAD_SEVERAL_PODS),
        ("nonsense\n", Reason.WORKLOAD_CGROUP),
    ],
)
def test_a_process_of_no_certain_pod_is_refused(
    tmp_path: Path, child: subprocess.Popen[bytes], cgroups: str, reason: Reason
) -> None:
    pods = proc(tmp_path, child.pid, cgroups)
    assert refusal(Kernel(child.pid, os.pidfd_open(child.pid)), pods) is reason


def test_what_cannot_be_read_of_a_process_refuses_it(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    (tmp_path / str(child.pid) / "cgroup").mkdir(parents=True)
    kernel = Kernel(child.pid, os.pidfd_open(child.pid))
    assert refusal(kernel, Pods(tmp_path)) is Reason.WORKLOAD_UNATTESTED


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    (tmp_path / str(child.pid)).mkdir()
    (tmp_path / str(child.pid) / "cgroup").symlink_to("/dev/zero")
    kernel = Kernel(child.pid, os.pidfd_open(child.pid))
    assert refusal(kernel, Pods(tmp_path)) is Reason.WORKLOAD_CGROUP


# -- which connections are of one workload ------------------------------------------------------------------


def attested(uid: int = 1, gid: int = 1, pod: str = "", pid: int | None = None) -> Attested:
    own = os.getpid()
    return Attested(Process(pid or own, os.pidfd_open(own)), uid, gid, PodUid(pod) if pod else None)


def test_processes_are_told_apart_by_number_user_and_group() -> None:
    several = [attested(), attested(uid=2), attested(gid=2), attested(pid=2)]
    assert len({one.key for one in several}) == 4
    again = attested()
    assert again.key == several[0].key
    assert {one.holder for one in several} == {1, 2}, "a user has one share, with all its processes"
    for one in (*several, again):
        one.process.close()


def test_processes_of_one_pod_are_one_workload() -> None:
    one, other, elsewhere = attested(pod=UID), attested(uid=2, pid=2, pod=UID), attested(pod=f"{UID}0")
    assert one.key == other.key != elsewhere.key
    assert one.holder == other.holder != elsewhere.holder
    for each in (one, other, elsewhere):
        each.process.close()


# -- this kernel --------------------------------------------------------------------------------------------


@contextmanager
def connected(folder: Path, then: str, *user: int) -> Iterator[tuple[socket.socket, int]]:
    """An accepted connection of another process, and its PID; with `leave`, one that has ended by then."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        (folder / "s").chmod(0o666)
        listener.listen()
        command = [sys.executable, "-c", CONNECT, str(folder / "s"), then, *map(str, user)]
        with subprocess.Popen(command) as child:
            if then == "leave":
                child.wait()
            accepted, _ = listener.accept()
            with accepted:
                yield accepted, child.pid


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder that every user may pass through, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_this_kernel_can_name_the_process() -> None:
    check_kernel()


def test_the_process_that_connected_is_attested(short: Path) -> None:
    with connected(short, "stay") as (connection, pid):
        found = attest(connection, None)
        assert (found.process.pid, found.uid, found.gid) == (pid, os.getuid(), os.getgid())
        assert found.process.alive()
        connection.send(b".")
        while found.process.alive():
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        found.process.close()


@as_root
def test_a_process_of_another_user_is_attested_as_that(short: Path) -> None:
    with connected(short, "stay", 1001) as (connection, _):
        found = attest(connection, None)
        assert (found.uid, found.gid) == (1001, 1001)
        found.process.close()
        connection.send(b".")


def test_a_process_that_connected_and_ended_is_refused(short: Path) -> None:
    """Its connection waits to be accepted all the same."""
    with connected(short, "leave") as (connection, _), pytest.raises(Refused) as refused:
        attest(connection, None)
    assert refused.value.reason is Reason.WORKLOAD_EXITED
