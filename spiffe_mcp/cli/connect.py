"""`spiffe-mcp connect`: a server of the mesh as a command, for clients that can only start one."""

import asyncio
import logging
import signal
import sys
from typing import Annotated, Final

import typer

from spiffe_mcp.connect import Egress, Shim, serving_stdio
from spiffe_mcp.http import HttpClient
from spiffe_mcp.mesh.routes import ServerName

app: Final = typer.Typer(add_completion=False)


def _server(text: str) -> ServerName:
    try:
        return ServerName(text)
    except ValueError:
        raise typer.BadParameter("the name of a server is a DNS label") from None


def _egress(text: str) -> Egress:
    try:
        return Egress.parse(text)
    except ValueError:
        raise typer.BadParameter("host:port or unix:/path") from None


@app.command()
def connect(
    server: Annotated[ServerName, typer.Argument(parser=_server, help="The server's name at the egress.")],
    *,
    egress: Annotated[
        Egress,
        typer.Option(parser=_egress, envvar="SPIFFE_MCP_EGRESS", help="Where the agent's egress listens."),
    ] = "unix:/run/spiffe-mcp/egress.sock",  # type: ignore[assignment]  # Typer parses the default as well
) -> None:
    """Carry the messages of an MCP client at standard input and output to SERVER, through the mesh.

    The agent whose egress it is has to run. Who calls is who runs this command.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="spiffe-mcp connect: %(message)s")
    asyncio.run(_serve(server, egress))


async def _serve(server: ServerName, egress: Egress) -> None:
    loop = asyncio.get_running_loop()
    client = HttpClient(egress.connect)
    async with serving_stdio(sys.stdin.buffer, sys.stdout.buffer) as stdio, asyncio.TaskGroup() as tasks:
        shim = Shim(client, egress.host, server.path, stdio.write)
        serving = tasks.create_task(shim.serve(stdio.lines()))
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, serving.cancel)
