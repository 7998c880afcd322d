"""`spiffe-mcp policy`: what a security engineer writes is compiled and asked here before it is rolled out.

Enters: Rego files, optionally data and an input document. Leaves: text or JSON, and exit codes: 0 compiled or
allowed, 1 refused, 2 not usable as asked (files, JSON). Every decision is made in `spiffe_mcp.policy`.
"""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from spiffe_mcp.errors import Refused
from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.strict_json import JsonObject, loads_object

app: Final = typer.Typer(help="Check and try out Rego policies.", no_args_is_help=True, add_completion=False)

REFUSED: Final = 1
USAGE: Final = 2

_Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rego modules.", show_default=False)]
_Data = Annotated[Path | None, typer.Option("--data", help="JSON object that rules see as `data`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def check(files: _Files, data: _Data = None) -> None:
    """Compile a policy: exit 0 if the mesh would load it, 1 with file and line if not."""
    policy = _compiled(files, data)
    typer.echo(f"compiled {len(files)} {'module' if len(files) == 1 else 'modules'}, {policy.digest}")
    typer.echo(f"reads of input: {', '.join(policy.reads) or 'nothing'}")


@app.command("eval")
def evaluate(
    files: _Files,
    document: Annotated[Path, typer.Option("--input", help="The input document, a JSON object.")],
    data: _Data = None,
    as_json: _Json = False,  # noqa: FBT002  typer's way to declare an option
) -> None:
    """Ask a policy about one input document: exit 0 if it allows, 1 if it refuses."""
    question = _object(document)
    decision = _compiled(files, data).evaluate(question)
    typer.echo(json.dumps(_as_json(decision)) if as_json else _as_text(decision))
    if not decision.allow:
        raise typer.Exit(REFUSED)


def _compiled(files: list[Path], data: Path | None) -> RegoPolicy:
    sources = {str(file): _read(file).decode("utf-8", "replace") for file in files}
    values = _object(data) if data else {}
    try:
        return RegoPolicy.compile(sources, values)
    except Refused as refused:
        for line in refused.detail.split("; "):
            typer.echo(line, err=True)
        raise typer.Exit(REFUSED) from None


def _object(file: Path) -> JsonObject:
    try:
        return loads_object(_read(file))
    except Refused as refused:
        typer.echo(f"{file}: {refused}", err=True)
        raise typer.Exit(USAGE) from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        typer.echo(f"{file}: {error.strerror}", err=True)
        raise typer.Exit(USAGE) from None


def _as_json(decision: Decision) -> JsonObject:
    return {
        "allow": decision.allow,
        "refusal": decision.refusal.code if decision.refusal else None,
        "detail": decision.detail,
        "reason": decision.reason,
        "rule": decision.rule,
        "visibility": None if decision.allow else decision.visibility.value,
        "message": decision.message,
    }


def _as_text(decision: Decision) -> str:
    lines = [f"{name}: {value}" for name, value in _as_json(decision).items() if name != "allow" and value]
    return "\n".join(["allowed" if decision.allow else "refused", *lines])
