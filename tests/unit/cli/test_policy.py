"""`spiffe-mcp policy` says what the mesh would say, with exit codes for scripts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spiffe_mcp.cli.policy import app

POLICY = """package mcp.authz
import rego.v1
decision := {"allow": input.tool.name in data.tools, "rule": "listed"}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A policy, its data and an input that it allows."""
    (tmp_path / "a.rego").write_text(POLICY)
    (tmp_path / "data.json").write_text('{"tools": ["add"]}')
    (tmp_path / "input.json").write_text('{"tool": {"name": "add"}}')
    return tmp_path


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and all output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def evaluated(here: Path, *more: str) -> tuple[int, str]:
    """The sample policy asked about the sample input."""
    return run("eval", here / "a.rego", "--data", here / "data.json", "--input", here / "input.json", *more)


def test_check_compiles_and_tells_what_is_read(here: Path) -> None:
    """Exit 0."""
    code, output = run("check", here / "a.rego", "--data", here / "data.json")
    assert code == 0
    assert "sha256:" in output
    assert "tool.name" in output


def test_check_names_file_and_line(here: Path) -> None:
    """Exit 1; an editor can jump there."""
    (here / "a.rego").write_text("package mcp.authz\n\ndecision := http.send({})\n")
    code, output = run("check", here / "a.rego")
    assert code == 1
    assert f"{here / 'a.rego'}:3: http.send" in output.replace("\n", "")


def test_eval_explains_a_permission(here: Path) -> None:
    """Exit 0."""
    assert evaluated(here) == (0, "allowed\nrule: listed\n")


def test_eval_explains_a_refusal_to_machines(here: Path) -> None:
    """Exit 1, with the stable code."""
    (here / "input.json").write_text('{"tool": {"name": "drop"}}')
    code, output = evaluated(here, "--json")
    assert code == 1
    assert json.loads(output)["refusal"] == "policy.denied"


@pytest.mark.parametrize("document", ["[]", '{"a": 1, "a": 2}', "\ufeff{}", "{"])
def test_input_that_is_no_strict_object_is_a_usage_error(here: Path, document: str) -> None:
    """Exit 2, as the mesh would not have got that far."""
    (here / "input.json").write_text(document)
    assert evaluated(here)[0] == 2


def test_a_missing_file_is_a_usage_error(here: Path) -> None:
    """Exit 2."""
    assert run("check", here / "absent.rego")[0] == 2
