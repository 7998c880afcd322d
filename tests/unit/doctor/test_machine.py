"""Descriptors and the audit log's place, as the kernel has them; and nothing is changed by looking."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spiffe_mcp.audit import AuditLog, Fsync
from spiffe_mcp.doctor import machine
from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.machine import audit_log, descriptors
from tests.fakes import commands

NOBODY = 65534


def bad(found: Finding, *words: str) -> None:
    assert found.check is Check.AUDIT
    assert found.severity is Severity.ERROR
    for word in words:
        assert word in f"{found.message} {found.advice}"


# -- descriptors --------------------------------------------------------------------------------------------


def severity_with(limit: int) -> str:
    """What a process finds whose hard limit is `limit`: lowering one's own cannot be taken back."""
    code = (
        "import resource; from spiffe_mcp.doctor.machine import descriptors;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
        "found = descriptors(); print(found.severity.name, found.message, found.advice)"
    )
    return commands.python(code)


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 16_384, reason="the limit here is a low one itself"
)
def test_many_descriptors_are_well() -> None:
    found = descriptors()
    assert (found.check, found.severity) == (Check.DESCRIPTORS, Severity.OK)


def test_few_descriptors_are_a_warning_with_what_there_is_room_for() -> None:
    said = severity_with(1024)
    assert said.startswith("WARNING 1024 descriptors: room for")
    assert "LimitNOFILE=" in said


def test_too_few_descriptors_are_an_error() -> None:
    assert severity_with(32).startswith("ERROR An agent started from here would not start")


# -- the audit log ------------------------------------------------------------------------------------------


def test_a_log_that_is_not_there_yet_and_is_not_made_by_looking(tmp_path: Path) -> None:
    found = audit_log(tmp_path / "audit.jsonl")
    assert (found.check, found.severity) == (Check.AUDIT, Severity.OK)
    assert [*tmp_path.iterdir()] == []


def test_a_log_that_a_running_agent_writes_to_is_left_alone(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit.jsonl", fsync=Fsync.NEVER) as log:
        assert audit_log(tmp_path / "audit.jsonl").severity is Severity.OK
        log.ensure_writable()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    bad(audit_log(tmp_path / "missing" / "audit.jsonl"), "does not exist", "Make it")


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_log_that_others_may_write_to(tmp_path: Path, mode: int) -> None:
    log = tmp_path / "audit.jsonl"
    log.touch()
    log.chmod(mode)
    bad(audit_log(log), "only its owner can write", "chmod go-w")


def test_a_folder_or_a_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "link"):
        bad(audit_log(tmp_path / name), "is not a file")


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may enter, with all that is above it."""
    above = [path for path in (tmp_path, *tmp_path.parents) if path.stat().st_uid == os.geteuid()]
    modes = {path: path.stat().st_mode for path in above}
    for path in above:
        path.chmod(path.stat().st_mode | 0o055)
    yield tmp_path
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_folder_that_we_may_not_write_to(open_folder: Path) -> None:
    with as_nobody():
        found = audit_log(open_folder / "audit.jsonl")
    bad(found, f"Uid {NOBODY} cannot make a file")


def test_a_log_of_somebody_else(open_folder: Path) -> None:
    log = open_folder / "audit.jsonl"
    log.touch(mode=0o600)
    with as_nobody():
        found = audit_log(log)
    bad(found, f"Uid {NOBODY} cannot read and write")


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path)
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", free.f_blocks * free.f_frsize + 1)
    bad(audit_log(tmp_path / "audit.jsonl"), "no exchange begins", "Free some")
