"""What the suite leaves in its folder."""

import json
from pathlib import Path

import pytest

from scripts.conformance_suite.results import read, total


def leave(folder: Path, *checks: tuple[str, str]) -> None:
    """One scenario's file."""
    folder.mkdir(parents=True)
    found = [{"id": name, "status": status, "timestamp": "now", "details": {}} for name, status in checks]
    (folder / "checks.json").write_text(json.dumps(found))


def test_checks_are_counted_by_scenario_and_notes_are_not(tmp_path: Path) -> None:
    twice = ("a", "SUCCESS"), ("a", "SUCCESS")
    leave(tmp_path / "server-tools-list-2026-11-26T07-19-30-040Z", *twice, ("b", "INFO"))
    leave(tmp_path / "ping-2026-11-26T07-19-30-041Z", ("ping", "FAILURE"))
    results = read(tmp_path)

    assert results["tools-list"] == {("a", "SUCCESS"): 2}
    assert results["ping"] == {("ping", "FAILURE"): 1}
    assert (total(results, "SUCCESS"), total(results, "FAILURE")) == (2, 1)


def test_a_folder_of_another_form_is_not_passed_over(tmp_path: Path) -> None:
    leave(tmp_path / "tools-list", ("a", "SUCCESS"))
    with pytest.raises(ValueError, match="tools-list"):
        read(tmp_path)
