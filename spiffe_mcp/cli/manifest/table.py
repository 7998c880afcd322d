"""A manifest, as a person reads it in a terminal."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from spiffe_mcp.manifest import statement
from spiffe_mcp.manifest.model import Manifest


def show(manifest: Manifest, console: Console) -> None:
    """Print `manifest`: its head, then a line for each tool."""
    table = Table("Tool", "Risk", "Approval", box=SIMPLE)
    table.add_column("Digest", overflow="fold")
    for tool in manifest.tools.values():
        table.add_row(
            tool.name, tool.risk_level.value, "yes" if tool.requires_approval else "no", tool.digest
        )
    console.print(f"{manifest.name} {manifest.version}, serial {manifest.serial}, {manifest.server}")
    console.print(f"expires {statement.format_time(manifest.expires_at)}")
    console.print(table)
