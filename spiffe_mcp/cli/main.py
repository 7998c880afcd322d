"""The command `spiffe-mcp`: what each sub-command is called, and how refusals become exit codes.

Exit codes: 0 done, 1 refused (the reason's stable code stands first on standard error), 2 wrong usage.

A sub-command's module is imported only when it is asked for: an agent does not carry the demo's MCP SDK, and
`manifest verify` starts no gRPC.
"""

import importlib
import os
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from spiffe_mcp import __version__
from spiffe_mcp.errors import Refused

COMMANDS: Final = ("agent", "audit", "connect", "dev", "doctor", "manifest", "policy")


class _Commands(TyperGroup):
    """The sub-commands, each the `app` of the module of its name."""

    # Typer brings its own copy of click, whose types have no public name.
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """Their names, for the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """The command `cmd_name`, imported now; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"spiffe_mcp.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app: Final = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"spiffe-mcp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """SPIFFE workload identity and mutual-TLS mesh agent for MCP."""


def main() -> None:
    """Run the command; the only place where a `Refused` becomes an exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC's own notes about forks and lost peers
    refusals: list[Refused] = []
    try:
        app()
    except* Refused as group:  # a task group wraps what ended it
        refusals = _leaves(group)
    # Not inside: what is raised there is wrapped once more by Python 3.11.2, which Debian 12 has.
    if refusals:
        sys.stderr.writelines(f"{refused}\n" for refused in refusals)
        sys.exit(1)


def _leaves(group: BaseExceptionGroup[Refused]) -> list[Refused]:
    """Every refusal in a group of groups."""
    return [
        leaf
        for member in group.exceptions
        for leaf in (_leaves(member) if isinstance(member, BaseExceptionGroup) else [member])
    ]
