"""A manifest as a person reads it."""

from io import StringIO

from rich.console import Console

from spiffe_mcp.cli.manifest.table import show
from tests.fakes.publisher import SERVER, manifest


def test_each_tool_stands_on_a_line_with_its_risk_and_its_digest() -> None:
    written, signed = StringIO(), manifest()
    show(signed, Console(file=written, width=200))
    lines = written.getvalue().splitlines()

    assert str(SERVER) in lines[0]
    for tool in signed.tools.values():
        (line,) = (line for line in lines if line.split()[:1] == [tool.name])
        approval = "yes" if tool.requires_approval else "no"
        assert line.split() == [tool.name, tool.risk_level.value, approval, tool.digest]
