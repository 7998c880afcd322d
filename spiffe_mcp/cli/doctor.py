"""`spiffe-mcp doctor`: what is wrong with identity and mesh on this machine, and what to do about it.

Enters: a configuration, a socket, a peer. Leaves: findings for people or as JSON, and the exit code of the
worst: 0 all well, 1 warnings, 3 errors. 2 is wrong usage, as everywhere.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spiffe_mcp.cli.clock import now
from spiffe_mcp.doctor.diagnosis import Patient, Target, examine, of_config
from spiffe_mcp.doctor.finding import Check, Finding, Severity, worst
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import IdPattern
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.strict_json import JsonObject

app: Final = typer.Typer(add_completion=False)

ENDPOINT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"  # Workload Endpoint section 4
_WIDTH: Final = 110  # where no terminal says
_SEVERITY_WIDTH: Final = len("warning")
_CHECK_WIDTH: Final = max(len(check.value) for check in Check)
_STYLES: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_SUMMARIES: Final = {
    Severity.OK: "All is well.",
    Severity.WARNING: "It works; look at the warnings.",
    Severity.ERROR: "Something is wrong: see above.",
}


@app.command()
def doctor(
    *,
    config: Annotated[
        Path | None, typer.Option(help="An agent's configuration file.", exists=True, dir_okay=False)
    ] = None,
    socket: Annotated[str | None, typer.Option(help="A Workload API: unix:///path.")] = None,
    peer: Annotated[str | None, typer.Option(help="A peer to try, host:port. Goes with --server.")] = None,
    server: Annotated[str | None, typer.Option(help="The SPIFFE ID that has to answer there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say in plain words what is wrong and what to do: exit code 0 all well, 1 warnings, 3 errors.

    Run it as the agent's own user: a SPIFFE provider answers by who asks. With --config, every server of the
    egress is tried by a handshake, which leaves a record in that server's audit log.
    """
    peers = _peers(peer, server)
    socket = socket or (None if config else os.environ.get(ENDPOINT_VARIABLE))
    if config is None and socket is None:
        raise typer.BadParameter(f"say --config or --socket, or set {ENDPOINT_VARIABLE}")
    findings = uvloop.run(_examined(config, socket, peers, None if as_json else _Page()))
    if as_json:
        typer.echo(json.dumps(_document(findings), indent=2))
    raise typer.Exit(worst(findings).value)


def _peers(peer: str | None, server: str | None) -> tuple[Target, ...]:
    if (peer is None) != (server is None):
        raise typer.BadParameter("--peer and --server go together")
    if peer is None or server is None:
        return ()
    try:
        return (Target(Address.parse(peer), IdPattern.parse(server)),)
    except (ValueError, Refused):
        raise typer.BadParameter("--peer is host:port, and --server a SPIFFE ID") from None


async def _examined(
    config: Path | None, socket: str | None, peers: tuple[Target, ...], page: "_Page | None"
) -> list[Finding]:
    """All findings, each shown on `page` as soon as it is made."""
    findings: list[Finding] = []
    async for finding in _findings(config, socket, peers):
        findings.append(finding)
        if page is not None:
            page.show(finding)
    if page is not None:
        page.end(worst(findings))
    return findings


async def _findings(
    config: Path | None, socket: str | None, peers: tuple[Target, ...]
) -> AsyncIterator[Finding]:
    patient: Patient | None = Patient(socket or "", peers=peers)
    if config is not None:
        patient, about = of_config(config, socket, peers, now())
        yield about
        if patient is None and socket is not None:
            patient = Patient(socket, peers=peers)
    if patient is not None:
        async for finding in examine(patient, now):
            yield finding


def _document(findings: list[Finding]) -> JsonObject:
    severity = worst(findings)
    return {
        "ok": severity is Severity.OK,
        "severity": severity.name.lower(),
        "findings": [{**finding.document()} for finding in findings],
    }


class _Page:
    """Findings as a person reads them: severity, check, and what was found; below it, what to do."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)

    def show(self, finding: Finding) -> None:
        """One finding."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=_SEVERITY_WIDTH)
        grid.add_column(width=_CHECK_WIDTH)
        grid.add_column()
        # `Text`, not markup: brackets in what others said mean nothing here.
        severity = Text(finding.severity.name.lower(), style=_STYLES[finding.severity])
        grid.add_row(severity, Text(finding.check.value), Text(finding.message))
        if finding.advice:
            grid.add_row("", "", Text(f"-> {finding.advice}", style="bold"))
        self._console.print(grid)

    def end(self, severity: Severity) -> None:
        """The sum of it."""
        self._console.print(Text(f"\n{_SUMMARIES[severity]}", style=_STYLES[severity]))
