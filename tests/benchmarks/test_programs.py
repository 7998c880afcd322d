"""Programs are named when they are missing, waited for, and stopped."""

import os
import sys
from pathlib import Path

import pytest

from scripts.benchmarks.programs import UnavailableError, free_port, program, started


def test_a_program_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="wrk is not on PATH"):
        program("wrk")


def test_a_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no such key')"]
    with (
        started(failing, tmp_path / "log") as running,
        pytest.raises(UnavailableError, match="no such key"),
    ):
        running.first_line()
    with started(failing, tmp_path / "log") as running, pytest.raises(UnavailableError, match="no such key"):
        running.until_listening(free_port())


def test_a_program_is_gone_when_the_block_ends(tmp_path: Path) -> None:
    with started([sys.executable, "-c", "print('up'); input()"], tmp_path / "log") as running:
        os.kill(running.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
