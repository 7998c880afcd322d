"""`spiffe-mcp manifest lint`: what a careful reader would stop at, before the signature."""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from spiffe_mcp.cli.manifest.files import contents, listing_of, unusable
from spiffe_mcp.manifest.lint import Finding, Rule, Severity, lint

_STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


class FailOn(Enum):
    """From which severity on the command fails."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


_FAILING: Final[Mapping[FailOn, frozenset[Severity]]] = {
    FailOn.ERROR: frozenset({Severity.ERROR}),
    FailOn.WARNING: frozenset({Severity.ERROR, Severity.WARNING}),
    FailOn.NEVER: frozenset(),
}


def lint_command(
    *,
    tools_file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A tools/list result, an array of tools, or a manifest."),
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE=SEVERITY", help="off, warning or error, in place of a rule's own; repeat."
        ),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="The severity from which on the exit code is 1.")
    ] = FailOn.ERROR,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Look for tool poisoning and plain mistakes in what a server lists.

    A finding is a question to a person. No findings do not mean that a tool is harmless.
    """
    severities = _severities(rule or [])
    listing = listing_of(contents("FILE", tools_file))
    instructions = listing.earlier.instructions if listing.earlier else None
    found = [
        (severities[finding.rule], finding)
        for finding in lint(listing.tools, instructions)
        if severities[finding.rule] is not Severity.OFF
    ]
    (_print_json if as_json else _print)(found)
    if any(severity in _FAILING[fail_on] for severity, _ in found):
        raise typer.Exit(1)


def _severities(options: list[str]) -> Mapping[Rule, Severity]:
    """The severity of every rule: what an option says, else the rule's own."""
    rules = {rule.code: rule for rule in Rule}
    severities = {rule: rule.severity for rule in Rule}
    for option in options:
        code, _, severity = option.partition("=")
        if code not in rules:
            unusable("--rule", f"no such rule: {code}; there are {', '.join(rules)}")
        try:
            severities[rules[code]] = Severity(severity)
        except ValueError:
            unusable("--rule", f"{option}: off, warning or error")
    return severities


def _print(found: Sequence[tuple[Severity, Finding]]) -> None:
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for severity, finding in found:
        console.print(
            Text.assemble(
                (finding.tool or "(instructions)", "bold"),
                f" {finding.place}: ",
                (severity.value, _STYLES[severity]),
                f" {finding.rule.code}: {finding.rule.meaning}: {finding.found}",
            )
        )
    errors = sum(severity is Severity.ERROR for severity, _ in found)
    console.print(f"{errors} errors, {len(found) - errors} warnings.")


def _print_json(found: Sequence[tuple[Severity, Finding]]) -> None:
    findings = [
        {
            "rule": finding.rule.code,
            "severity": severity.value,
            "tool": finding.tool,
            "place": finding.place,
            "found": finding.found,
        }
        for severity, finding in found
    ]
    typer.echo(json.dumps({"findings": findings}))
