"""What every module says of itself, and what none says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "spiffe_mcp").rglob("*.py"))
LATER = re.compile("TO" + "DO|FIX" + "ME")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is(module: Path) -> None:
    said = ast.get_docstring(ast.parse(module.read_text()))
    assert said
    assert said.splitlines()[0].rstrip().endswith((".", "?", ":"))


def test_no_module_is_for_everything() -> None:
    names = {part for path in MODULES for part in (*path.parent.parts, path.stem)}
    assert not names & {"util", "utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("folder", ["spiffe_mcp", "tests", "scripts"])
def test_nothing_is_left_for_later(folder: str) -> None:
    """What is to be done is not written where it is forgotten."""
    found = [
        path
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".sh", ".rego", ""} and LATER.search(path.read_text())
    ]
    assert found == []
