"""What cannot be read at one sitting is not reviewed. Nothing is larger than this, and nothing may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "spiffe_mcp"
FILE_LINES, FUNCTION_LINES = 400, 50


def functions(module: Path) -> Iterator[tuple[str, int]]:
    """Every function of a module, with its lines from `def` to the last."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_too_long() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert lengths
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {f"{path}:{name}": lines for path in PACKAGE.rglob("*.py") for name, lines in functions(path)}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
