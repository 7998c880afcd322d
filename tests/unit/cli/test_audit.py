"""`spiffe-mcp audit` tells an intact log from a broken one, and shows what it says."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spiffe_mcp.audit import AuditLog, AuditRecord, Fsync, Outcome, Side, Target
from spiffe_mcp.cli.audit import app


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three records."""
    path = tmp_path / "audit.jsonl"
    with AuditLog.open(path, fsync=Fsync.NEVER) as opened:
        for number in range(3):
            opened.append(
                AuditRecord(
                    time=datetime(2026, 11, 23, 6, number, tzinfo=UTC),
                    exchange=f"e{number}",
                    side=Side.INGRESS,
                    outcome=Outcome.COMPLETED,
                    target=Target(tool="\x1b[31madd"),
                )
            )
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and all output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_verify_prints_count_head_and_times(log: Path) -> None:
    """Exit 0."""
    code, output = run("verify", log)
    assert code == 0
    assert output.startswith(
        "3 intact record(s), 2026-11-23T06:00:00.000Z to 2026-11-23T06:02:00.000Z\nhead "
    )


def test_verify_names_the_line_that_breaks_the_chain(log: Path) -> None:
    """Exit 1."""
    log.write_bytes(log.read_bytes().replace(b'"e1"', b'"eX"'))
    code, output = run("verify", log)
    assert code == 1
    assert "BROKEN at line 3: prev is not the hash of line 2" in output


def test_verify_finds_a_cut_tail_by_a_noted_hash(log: Path) -> None:
    """Exit 1, and JSON for machines."""
    head = json.loads(run("verify", log, "--json")[1])["head"]
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert run("verify", log)[0] == 0
    code, output = run("verify", log, "--noted", head, "--json")
    report = json.loads(output)
    assert (code, report["intact"], report["broken"]["line"]) == (1, False, 3)


def test_show_prints_the_newest_records(log: Path) -> None:
    """In order, as many as asked for; a caller's text does not speak to the terminal."""
    code, output = run("show", log, "--last", "2")
    rows = output.splitlines()
    assert (code, len(rows)) == (0, 2)
    assert rows[1].startswith("2026-11-23T06:02:00.000Z  ingress  refuse")
    assert "\x1b" not in output
    assert "\\u001b[31madd" in output


def test_show_prints_json_for_machines(log: Path) -> None:
    """One object a line."""
    _, output = run("show", log, "--json")
    assert [json.loads(line)["exchange"] for line in output.splitlines()] == ["e0", "e1", "e2"]


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_missing_file_is_a_usage_error(tmp_path: Path, command: str) -> None:
    """Exit 2."""
    assert run(command, tmp_path / "absent")[0] == 2


def test_show_does_not_guess_at_lines_that_are_no_records(log: Path) -> None:
    """Exit 1."""
    log.write_bytes(b"nonsense\n")
    assert run("show", log)[0] == 1
