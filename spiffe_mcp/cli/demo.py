"""The demo of `spiffe-mcp dev`: the mesh on one machine, to point a client at, or to prove itself once."""

import asyncio
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import typer
import uvloop
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from spiffe_mcp.audit import read_records
from spiffe_mcp.cli.clock import now
from spiffe_mcp.dev import demo
from spiffe_mcp.dev.drive import Seen, Step, drive, judge
from spiffe_mcp.dev.workspace import Workspace
from spiffe_mcp.strict_json import JsonObject

_COLUMNS: Final = ("time", "user", "action", "tool", "decision", "reason")
_WIDTH: Final = 140  # of the tables, where no terminal says
_HOW_TO: Final = """
Point an MCP client at {url}, for example:

    npx @modelcontextprotocol/inspector --cli {url} --transport http --method tools/list

Watch the decisions:

    tail -f {audit}
"""


def run(*, once: bool, as_json: bool, keep: Path | None, listen: str) -> None:
    """Run the demo mesh as the options of `spiffe-mcp dev` say."""
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spiffe-mcp-")))
        workspace = Workspace(folder.resolve())
        workspace.claim()
        if not once:
            uvloop.run(_stay(workspace, listen))
            return
        seen = uvloop.run(_once(workspace))
        records = sorted(read_records(workspace.audit_log("ingress")), key=lambda record: str(record["time"]))
        steps = judge(seen, records)
    if as_json:
        typer.echo(json.dumps(_document(steps, records), indent=2))
    else:
        _print(steps, records)
    if not _went_well(steps):
        raise typer.Exit(1)


async def _once(workspace: Workspace) -> list[Seen]:
    async with demo.running(workspace, clock=now, progress=_say) as mesh:
        _say("an MCP client of the official SDK calls tools through the mesh, in both eras")
        return [sight async for sight in drive(mesh.url)]


async def _stay(workspace: Workspace, listen: str) -> None:
    stopped = asyncio.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, stopped.set)
    async with demo.running(workspace, clock=now, progress=_say, listen=listen) as mesh:
        _say("the mesh is up; Ctrl-C stops it")
        typer.echo(_HOW_TO.format(url=mesh.url, audit=workspace.audit_log("ingress")))
        await stopped.wait()


def _say(what: str) -> None:
    """Progress, on standard error: standard output is for what was asked for."""
    sys.stderr.write(f"==> {what}\n")
    sys.stderr.flush()


def _went_well(steps: list[Step]) -> bool:
    return bool(steps) and all(step.expected for step in steps)


def _document(steps: list[Step], records: list[JsonObject]) -> JsonObject:
    return {
        "ok": _went_well(steps),
        "steps": [step.document() for step in steps],
        "audit": [*records],
    }


def _print(steps: list[Step], records: list[JsonObject]) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    tried = Table("era", "tool", "outcome", "why", "", box=SIMPLE)
    for step in steps:
        sign = "ok" if step.expected else "NOT AS IT SHOULD BE"
        tried.add_row(step.era, step.tool, step.outcome, step.reason, sign)
    console.print(tried)
    evidence = Table(*_COLUMNS, box=SIMPLE, title="Audit records of the ingress", title_justify="left")
    for record in records:
        evidence.add_row(*(str(record.get(column, "")) for column in _COLUMNS))
    console.print(evidence)
    console.print(
        "Everything went as it should." if _went_well(steps) else "Something went wrong: see above."
    )
