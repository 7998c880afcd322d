"""`spiffe-mcp dev`: without a sub-command the demo mesh; `dev provider`: a SPIFFE provider alone.

The demo is imported only when it is run: a provider does not need the MCP SDK.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from spiffe_mcp.cli.provider import provider

LISTEN: Final = "127.0.0.1:7070"

app: Final = typer.Typer(add_completion=False)
app.command()(provider)


@app.callback(invoke_without_command=True)
def dev(
    context: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Drive the mesh with an MCP client, then stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print one JSON object.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Leave what the run made in this folder.")] = None,
    listen: Annotated[str, typer.Option(help="Where MCP clients reach the mesh.")] = LISTEN,
) -> None:
    """Run a SPIFFE provider, two agents and a demo MCP server on this machine: no container, no SPIRE.

    With --once the exit code is 0 only if everything went as it should, refusals included.
    """
    if context.invoked_subcommand is not None:
        if once or as_json or keep is not None or listen != LISTEN:
            raise typer.BadParameter(f"the demo's options do not go with {context.invoked_subcommand}")
        return
    if as_json and not once:
        raise typer.BadParameter("--json goes with --once")
    try:
        from spiffe_mcp.cli import demo  # noqa: PLC0415  see above
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise typer.BadParameter("the demo needs the MCP SDK: pip install 'spiffe-mcp[demo]'") from None
    demo.run(once=once, as_json=as_json, keep=keep, listen=listen)
