"""The command `spiffe-mcp`: what each sub-command is called, and how refusals become exit codes.

Exit codes: 0 done, 1 refused (the reason's stable code stands first on standard error), 2 wrong usage.
"""

import sys
from typing import Annotated

import typer

from spiffe_mcp import __version__
from spiffe_mcp.cli import agent, audit, dev, manifest, policy
from spiffe_mcp.errors import Refused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="SPIFFE workload identity and mutual-TLS mesh agent for MCP.",
)
app.command("agent")(agent.agent)
app.command("dev")(dev.dev)
app.add_typer(manifest.app, name="manifest", help="Sign and verify tool manifests.")
app.add_typer(policy.app, name="policy", help="Check policies and try them out.")
app.add_typer(audit.app, name="audit", help="Verify and read audit logs.")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"spiffe-mcp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """SPIFFE workload identity and mutual-TLS mesh agent for MCP."""


def main() -> None:
    """Run the command; the only place where a `Refused` becomes an exit code."""
    try:
        app()
    except* Refused as group:  # a task group wraps what ended it
        for refused in group.exceptions:
            sys.stderr.write(f"{refused}\n")
        sys.exit(1)
