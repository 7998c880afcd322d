"""`spiffe-mcp audit`: is the log still what was written, and what does it say.

Enters: an audit log. Leaves: text or JSON, and exit codes: 0 intact, 1 broken, 2 not usable as asked.
"""

import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from spiffe_mcp.audit import ChainReport, read_lines, read_records
from spiffe_mcp.audit import verify as verify_chain
from spiffe_mcp.errors import Refused
from spiffe_mcp.strict_json import JsonObject

app: Final = typer.Typer(help="Verify and read audit logs.", no_args_is_help=True, add_completion=False)

BROKEN: Final = 1
USAGE: Final = 2
_COLUMNS: Final = ("time", "side", "decision", "reason", "outcome", "user", "caller", "action", "tool")

_File = Annotated[Path, typer.Argument(help="The audit log.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def verify(
    file: _File,
    noted: Annotated[str | None, typer.Option("--noted", help="A hash that this log once had.")] = None,
    as_json: _Json = False,  # noqa: FBT002  typer's way to declare an option
) -> None:
    """Follow the hash chain: exit 0 if every line continues the one before, 1 at the first that does not.

    Lines missing at the end show only against a hash noted elsewhere: note the head that this prints.
    """
    try:
        report = verify_chain(read_lines(file), noted)
    except OSError as error:
        raise _unreadable(file, error) from None
    typer.echo(json.dumps(_as_json(report)) if as_json else _as_text(report))
    if not report.intact:
        raise typer.Exit(BROKEN)


@app.command()
def show(
    file: _File,
    last: Annotated[int | None, typer.Option(min=1, help="Only so many records, the newest.")] = None,
    as_json: _Json = False,  # noqa: FBT002  typer's way to declare an option
) -> None:
    """Print the records, without verifying them."""
    try:
        records = list(read_records(file))
    except OSError as error:
        raise _unreadable(file, error) from None
    except Refused as refused:
        typer.echo(f"{file}: a line is no record ({refused.reason.code}): verify it", err=True)
        raise typer.Exit(BROKEN) from None
    for record in islice(records, max(0, len(records) - (last or len(records))), None):
        typer.echo(json.dumps(record) if as_json else _row(record))


def _row(record: JsonObject) -> str:
    # json.dumps escapes what could speak to a terminal: these texts are a caller's.
    cells = (json.dumps(record.get(column, "-"))[1:-1] or "-" for column in _COLUMNS)
    return "  ".join(cells)


def _as_json(report: ChainReport) -> JsonObject:
    broken = report.broken
    return {
        "intact": report.intact,
        "count": report.count,
        "head": report.head,
        "first_time": report.first_time,
        "last_time": report.last_time,
        "broken": {"line": broken.line, "what": broken.what} if broken else None,
    }


def _as_text(report: ChainReport) -> str:
    span = f"{report.first_time} to {report.last_time}" if report.count else "nothing yet"
    found = f"{report.count} intact record(s), {span}\nhead {report.head}"
    if report.broken is None:
        return found
    return f"{found}\nBROKEN at line {report.broken.line}: {report.broken.what}"


def _unreadable(file: Path, error: OSError) -> typer.Exit:
    typer.echo(f"{file}: {error.strerror}", err=True)
    return typer.Exit(USAGE)
