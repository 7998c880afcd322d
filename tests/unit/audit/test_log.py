"""The file: one writer, whole lines, a chain that goes on after a crash, and no call without it."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from spiffe_mcp.audit.chain import verify
from spiffe_mcp.audit.log import AuditLog, Fsync, read_lines, read_records
from spiffe_mcp.audit.record import AuditRecord, Outcome, Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "audit.jsonl"


def record(exchange: str = "e1") -> AuditRecord:
    """Something to write."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return AuditRecord(time=now, exchange=exchange, side=Side.INGRESS, outcome=Outcome.COMPLETED)


def fill(path: Path, *exchanges: str) -> None:
    """Write and close."""
    with AuditLog.open(path, fsync=Fsync.NEVER) as log:
        for exchange in exchanges:
            log.append(record(exchange))


def lines(path: Path) -> list[JsonObject]:
    """The verified records."""
    report = verify(read_lines(path))
    assert report.intact, report.broken
    return list(read_records(path))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file grows beyond `size`: the kernel writes what fits and then fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def refused_opening(path: Path) -> str:
    """The detail of the refusal to open `path`."""
    with pytest.raises(Refused) as caught:
        AuditLog.open(path)
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
    return caught.value.detail


@pytest.mark.parametrize("fsync", Fsync)
def test_records_are_written_as_a_chain_only_their_owner_can_read(path: Path, fsync: Fsync) -> None:
    """On the disk when `append` returns."""
    with AuditLog.open(path, fsync=fsync) as log:
        for exchange in ("e1", "e2"):
            log.ensure_writable()
            log.append(record(exchange))
        assert [line["exchange"] for line in lines(path)] == ["e1", "e2"]
        assert log.head.hash == verify(read_lines(path)).head
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_chain_goes_on_when_the_log_is_opened_again(path: Path) -> None:
    """Also for the third time, from a file of one line and from none."""
    fill(path)
    fill(path, "e1")
    fill(path, "e2", "e3")
    fill(path, "e4")
    assert [line["seq"] for line in lines(path)] == [1, 2, 3, 4]


def test_a_log_longer_than_what_is_read_at_opening_goes_on(path: Path) -> None:
    """Only the end is read."""
    fill(path, *("x" * 512 for _ in range(8_000)))
    assert path.stat().st_size > 4 * 1024 * 1024
    fill(path, "last")
    assert lines(path)[-1]["seq"] == 8_001


def test_two_processes_cannot_write_one_log(path: Path) -> None:
    """Their lines would interleave."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom spiffe_mcp.audit import AuditLog\n"
        "log = AuditLog.open(Path(sys.argv[1]))\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        assert "another process" in refused_opening(path)
        other.communicate()
    fill(path, "e1")


def test_a_line_torn_by_a_crash_is_set_aside_and_the_chain_says_so(path: Path) -> None:
    """It was never acknowledged; nothing is thrown away."""
    fill(path, "e1", "e2")
    with path.open("ab") as file:
        file.write(b'{"exchange":"to')
    fill(path, "e3", "e4")
    found = lines(path)
    assert [line["exchange"] for line in found] == ["e1", "e2", "e3", "e4"]
    assert found[2]["recovered"] == {
        "torn_bytes": 15,
        "torn_sha256": sha256(b'{"exchange":"to').hexdigest(),
    }
    assert "recovered" not in found[3]
    assert (path.parent / "audit.jsonl.torn").read_bytes() == b'{"exchange":"to\n'


def test_torn_lines_add_up(path: Path) -> None:
    """A second crash does not overwrite what the first one left; nor does a first line torn matter."""
    for torn in (b"one", b"two"):
        with path.open("ab") as file:
            file.write(torn)
        path.chmod(0o600)
        fill(path)
    assert path.read_bytes() == b""
    assert (path.parent / "audit.jsonl.torn").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    "end",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"seq":3}\n',
        b'{"seq":3,"prev":"00"}\n',
        b'{"seq":true,"prev":"00"}\n',
        b"\n",
        b"\xff\n",
    ],
)
def test_an_end_that_is_no_chain_is_refused_and_left_as_it_is(path: Path, end: bytes) -> None:
    """Somebody has to look; a torn line after it does not help."""
    fill(path, "e1", "e2")
    with path.open("ab") as file:
        file.write(end + b"torn")
    before = path.read_bytes()
    assert "verify it" in refused_opening(path)
    assert path.read_bytes() == before
    assert not (path.parent / "audit.jsonl.torn").exists()


def test_the_last_line_has_to_continue_the_one_before(path: Path) -> None:
    """An edit of the last line but one, or a first line that is not the first, is found at opening."""
    fill(path, "e1", "e2")
    written = path.read_bytes()
    path.write_bytes(written.replace(b"e1", b"eX"))
    assert "line 1: that line was changed" in refused_opening(path)
    path.write_bytes(written.split(b"\n")[1] + b"\n")
    assert "seq" in refused_opening(path)


def test_a_large_file_that_is_no_log_is_refused(path: Path) -> None:
    """It has no lines where lines should be."""
    path.write_bytes(b"x" * (5 * 1024 * 1024))
    path.chmod(0o600)
    assert "no audit log" in refused_opening(path)


def test_only_a_file_of_its_own_is_opened(path: Path) -> None:
    """No link, no pipe, no folder, nothing that others can write to."""
    target = path.parent / "elsewhere"
    target.touch()
    path.symlink_to(target)
    refused_opening(path)
    path.unlink()
    os.mkfifo(path)
    assert "only its owner" in refused_opening(path)
    path.unlink()
    path.mkdir()
    refused_opening(path)
    path.rmdir()
    path.touch()
    path.chmod(0o620)
    assert "only its owner" in refused_opening(path)
    refused_opening(path.parent / "absent" / "audit.jsonl")


def test_a_full_disk_refuses_the_record_and_leaves_no_half_line(path: Path) -> None:
    """And the chain goes on once there is room, and counts what was lost."""
    with AuditLog.open(path) as log:
        log.append(record("e1"))
        whole = path.stat().st_size
        with file_size_limit(whole + 40):
            for _ in range(2):
                with pytest.raises(Refused) as caught:
                    log.append(record("lost"))
                assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
                assert path.stat().st_size == whole
            with pytest.raises(Refused):
                log.ensure_writable()
        log.ensure_writable()
        log.append(record("e2"))
    found = lines(path)
    assert [line.get("exchange", line["kind"]) for line in found] == ["e1", "gap", "e2"]
    assert [line.get("lost") for line in found] == [None, 2, None]


def test_a_disk_with_little_room_begins_no_exchange(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is for the records of exchanges that run."""
    with AuditLog.open(path) as log:
        monkeypatch.setattr("spiffe_mcp.audit.log.MIN_FREE_BYTES", 2**62)
        with pytest.raises(Refused) as caught:
            log.ensure_writable()
        assert "full" in caught.value.detail
        log.append(record())


def test_a_removed_file_begins_no_exchange(path: Path) -> None:
    """Records would go to where nobody can read them."""
    with AuditLog.open(path) as log:
        path.unlink()
        with pytest.raises(Refused) as caught:
            log.ensure_writable()
        assert "removed" in caught.value.detail


@pytest.mark.parametrize("change", [b"more\n", None])
def test_a_file_that_somebody_else_wrote_to_begins_no_exchange(path: Path, change: bytes | None) -> None:
    """Longer or shorter than what this log wrote."""
    with AuditLog.open(path) as log:
        log.append(record())
        if change is None:
            os.truncate(path, 5)
        else:
            with path.open("ab") as file:
                file.write(change)
        with pytest.raises(Refused) as caught:
            log.ensure_writable()
        assert "somebody else" in caught.value.detail


def test_a_closed_log_takes_nothing(path: Path) -> None:
    """And closing twice is no error."""
    log = AuditLog.open(path)
    log.close()
    log.close()
    for call in (log.ensure_writable, lambda: log.append(record())):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
    assert path.read_bytes() == b""


def test_a_failed_fsync_closes_the_log_for_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reports it once: what follows would prove nothing."""

    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    with AuditLog.open(path, fsync=Fsync.ALWAYS) as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing)
            with pytest.raises(Refused):
                log.append(record())
        with pytest.raises(Refused) as caught:
            log.ensure_writable()
        assert "the disk failed" in caught.value.detail


def test_lines_are_json_with_sorted_keys(path: Path) -> None:
    """One spelling, for those who compare."""
    fill(path, "e1")
    keys = list(orjson.loads(path.read_bytes()))
    assert keys == sorted(keys)
