"""What a PID file names is taken for a process only if nothing speaks against it."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.workload.pid_file import named_process
from tests.fakes import processes

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to other users")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with processes.child() as child:
        yield child


@pytest.fixture
def file(tmp_path: Path, child: subprocess.Popen[bytes]) -> Path:
    """As a server writes it that has started."""
    path = tmp_path / "server.pid"
    path.write_text(f"{child.pid}\n")
    path.chmod(0o644)
    return path


def refusal(path: Path) -> Reason:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Refused) as refused:
        named_process(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    return refused.value.reason


def test_a_process_is_named(file: Path, child: subprocess.Popen[bytes]) -> None:
    process = named_process(file)
    assert process.pid == child.pid
    process.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "0",
        "-1",
        "+1",
        "1 2",
        "1\n2\n",
        "0x10",
        "1.0",
        "01",
        "\u0661",
        "99999999999",
        "9999999999",
        "2147483648",
        "pid",
        "1" * 100,
    ],
)
def test_what_is_no_number_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert refusal(file) is Reason.WORKLOAD_PID_FILE


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") is Reason.WORKLOAD_PID_FILE


def test_nothing_but_a_file_is_read(tmp_path: Path, file: Path) -> None:
    """A link leads to whatever its owner likes; a FIFO without a writer would be waited for."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(file)
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link"):
        assert refusal(path) is Reason.WORKLOAD_PID_FILE


def test_a_number_that_nobody_has_is_refused(file: Path, child: subprocess.Popen[bytes]) -> None:
    processes.end(child)
    assert refusal(file) is Reason.WORKLOAD_EXITED


def test_a_process_that_began_after_the_file_was_written_is_refused(file: Path) -> None:
    """The process that wrote it is gone, and its number was given to this one."""
    hour_ago = time.time() - 3600  # noqa: TID251  the file's time is the machine's
    os.utime(file, (hour_ago, hour_ago))
    assert refusal(file) is Reason.WORKLOAD_PID_FILE


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_to_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert refusal(file) is Reason.WORKLOAD_PID_FILE


@as_root
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 1001, 1001)
    assert refusal(file) is Reason.WORKLOAD_PID_FILE


@as_root
def test_a_file_of_the_servers_own_user_is_taken(file: Path) -> None:
    command = ["setpriv", "--reuid", "1001", "--regid", "1001", "--clear-groups", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        while (status := Path(f"/proc/{server.pid}/status").read_text()) and "Uid:\t1001\t1001" not in status:
            pass
        file.write_text(str(server.pid))
        os.chown(file, 1001, 1001)
        process = named_process(file)
        assert process.pid == server.pid
        process.close()
        server.kill()


def test_a_process_is_as_old_as_its_first_breath(file: Path) -> None:
    """Written at the very moment at which the process began, by a clock that ticks ten times slower."""
    file.write_text(str(os.getpid()))
    process = named_process(file)
    assert process.pid == os.getpid()
    process.close()
