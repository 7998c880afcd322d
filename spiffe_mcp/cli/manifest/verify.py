"""`spiffe-mcp manifest verify`: whether an agent would take a manifest, and if not, why."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spiffe_mcp.cli import clock
from spiffe_mcp.cli.manifest.files import ServerOption, contents, server_id, unusable
from spiffe_mcp.cli.manifest.table import show
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import statement
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.manifest.verify import VerifiedManifest, verify_manifest


def verify_command(
    *,
    manifest_file: Annotated[Path, typer.Argument(metavar="FILE", help="A signed manifest.")],
    policy: Annotated[Path, typer.Option(help="The trust policy: who may sign what.")],
    server: ServerOption,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="YYYY-MM-DDTHH:MM:SSZ; now if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Verify a signed manifest as an agent would."""
    try:
        trust = TrustPolicy.parse(contents("--policy", policy))
    except Refused as refusal:
        unusable("--policy", str(refusal))
    try:
        now = clock.now().replace(microsecond=0) if at is None else statement.parse_time(at, "TIME")
    except Refused as refusal:
        unusable("--at", refusal.detail)
    spiffe_id = server_id(server)
    document = contents("FILE", manifest_file)
    try:
        verified = verify_manifest(document, trust, spiffe_id, now)
    except Refused as refusal:
        if as_json:
            _print_json(spiffe_id, refusal)
        raise
    if as_json:
        _print_json(spiffe_id, verified)
        return
    console = Console(markup=False, highlight=False)
    show(verified.manifest, console)
    console.print(f"Verified. Signed by {', '.join(verified.all_signers())}.", style="green")


def _print_json(server: SpiffeId, result: VerifiedManifest | Refused) -> None:
    manifest = result.manifest if isinstance(result, VerifiedManifest) else None
    refusal = result if isinstance(result, Refused) else None
    tools = manifest.tools.values() if manifest else ()
    report = {
        "verified": manifest is not None,
        "reason": refusal.reason.code if refusal else None,
        "detail": refusal.detail if refusal else None,
        "server": str(server),
        "serial": manifest.serial if manifest else None,
        "tools": [
            {"name": tool.name, "risk": tool.risk_level.value, "digest": tool.digest} for tool in tools
        ],
        "signers": list(result.all_signers()) if isinstance(result, VerifiedManifest) else [],
    }
    typer.echo(json.dumps(report))
