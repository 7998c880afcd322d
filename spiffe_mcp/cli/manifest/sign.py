"""`spiffe-mcp manifest sign`: what a server lists, and what its publisher says of it, under signatures."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from spiffe_mcp.cli import clock
from spiffe_mcp.cli.manifest.files import (
    Listing,
    ServerOption,
    contents,
    deliver,
    listing_of,
    server_id,
    unusable,
)
from spiffe_mcp.cli.manifest.table import show
from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import statement
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.model import Manifest, RiskLevel, SignedTool
from spiffe_mcp.manifest.signing import in_order, reviewed, sign
from spiffe_mcp.strict_json import JsonObject

# A publisher who said nothing of a tool has not said that it is harmless.
_DEFAULT_RISK: Final = RiskLevel.HIGH


@dataclass(frozen=True, slots=True)
class _Word:
    """What the options say of tools."""

    risks: Mapping[str, RiskLevel]
    default_risk: RiskLevel
    approvals: frozenset[str]

    def on(self, listed: JsonObject, before: SignedTool | None) -> SignedTool:
        """`listed` as it is to be signed; what no option says is as it was `before`."""
        name = str(listed.get("name"))
        return reviewed(
            listed,
            self.risks.get(name) or (before.risk_level if before else self.default_risk),
            requires_approval=name in self.approvals or (before is not None and before.requires_approval),
            volatile_meta=before.volatile_meta if before else (),
        )


def sign_command(  # noqa: PLR0913  one parameter for each option
    *,
    tools_file: Annotated[
        Path,
        typer.Argument(
            metavar="TOOLS.json", help="A tools/list result, an array of tools, or an earlier manifest."
        ),
    ],
    server: ServerOption,
    name: Annotated[str, typer.Option(help="Name of the server, for people: com.acme/weather.")],
    version: Annotated[str, typer.Option(help="Version of the server, for people.")],
    serial: Annotated[int, typer.Option(min=1, help="Higher than that of any earlier manifest.")],
    key: Annotated[list[Path], typer.Option(help="Private key (PKCS#8 PEM); repeat for more signatures.")],
    expires_days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it expires.")] = 90,
    risk: Annotated[
        list[str] | None, typer.Option(metavar="TOOL=LEVEL", help="low, medium, high or critical; repeat.")
    ] = None,
    default_risk: Annotated[RiskLevel, typer.Option(help="For tools not named by --risk.")] = _DEFAULT_RISK,
    approve: Annotated[
        list[str] | None, typer.Option(metavar="TOOL", help="Calls to it need an approval; repeat.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the manifest; standard output if not given.")
    ] = None,
) -> None:
    """Sign the definitions of an MCP server's tools.

    From an earlier manifest, risk levels, approvals and instructions carry over, and the new one names it as
    its predecessor.
    """
    word = _Word(_risks(risk or []), default_risk, frozenset(approve or []))
    spiffe_id = server_id(server)
    signers = [_signer(path) for path in key]
    document = contents("TOOLS.json", tools_file)
    issued_at = clock.now().replace(microsecond=0)
    listing = listing_of(document)
    manifest = Manifest(
        server=spiffe_id,
        name=name,
        version=version,
        instructions=listing.earlier.instructions if listing.earlier else None,
        serial=serial,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(days=expires_days),
        previous=listing.previous,
        tools=_reviewed(listing, word),
    )
    envelope = sign(statement.write(manifest), signers)
    show(manifest, Console(stderr=True, markup=False, highlight=False))
    deliver(envelope, out)


def _reviewed(listing: Listing, word: _Word) -> dict[str, SignedTool]:
    before = listing.earlier.tools if listing.earlier else {}
    tools = in_order(word.on(tool, before.get(str(tool.get("name")))) for tool in listing.tools)
    _refuse_strangers("--risk", word.risks.keys() - tools.keys())
    _refuse_strangers("--approve", word.approvals - tools.keys())
    return tools


def _risks(options: list[str]) -> dict[str, RiskLevel]:
    risks: dict[str, RiskLevel] = {}
    for option in options:
        tool, _, level = option.partition("=")
        try:
            risks[tool] = statement.parse_risk(level, tool)
        except Refused as refusal:
            unusable("--risk", refusal.detail)
    return risks


def _refuse_strangers(option: str, names: AbstractSet[str]) -> None:
    """A misspelt tool would silently keep the default."""
    if names:
        unusable(option, f"no such tool: {', '.join(sorted(names))}")


def _signer(path: Path) -> FileSigner:
    try:
        return FileSigner.from_pem(contents("--key", path))
    except Refused as refusal:
        unusable("--key", f"{path}: {refusal.detail}")
