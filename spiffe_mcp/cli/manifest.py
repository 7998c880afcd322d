"""`spiffe-mcp manifest`: what a publisher of tools signs, and what an operator checks.

Enters: options and files. Leaves: files, text and exit codes: 0 done or verified, 1 refused (a `Refused` that
`main` reports), 2 not usable as asked (options, files, keys, trust policy). Every decision is made in
`spiffe_mcp.manifest`; this module reads and prints.
"""

import json
import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from spiffe_mcp.cli import clock
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import canonical, sha256_hex
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.model import Manifest, Previous, RiskLevel, SignedTool
from spiffe_mcp.manifest.signing import in_order, reviewed, sign
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.manifest.verify import VerifiedManifest, verify_manifest
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads

app: Final = typer.Typer(help="Sign and verify tool manifests.", no_args_is_help=True, add_completion=False)

# A publisher who said nothing of a tool has not said that it is harmless.
_DEFAULT_RISK: Final = RiskLevel.HIGH


class Algorithm(Enum):
    """The kinds of key that may sign."""

    P256 = "p256"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class _Listing:
    """The tools that a file lists, and what an earlier manifest said of them."""

    tools: list[JsonObject]
    earlier: Manifest | None = None
    previous: Previous | None = None


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


_ServerOption = Annotated[str, typer.Option("--server", help="SPIFFE ID of the MCP server.")]


@app.command()
def keygen(
    out: Annotated[Path, typer.Option(help="Where to write the private key (PKCS#8 PEM); must not exist.")],
    algorithm: Annotated[
        Algorithm, typer.Option(help="P-256 is what KMS and HSM hold too.")
    ] = Algorithm.P256,
) -> None:
    """Make a signing key; print its public key, as a trust policy names it."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm is Algorithm.P256 else _ed25519()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # O_EXCL: an existing key is never overwritten. The mode holds from the first byte on.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except OSError as error:
        _unusable("--out", f"{out}: {error.strerror}")
    public = FileSigner.from_pem(pem).public_key
    typer.echo(public.pem(), nl=False)
    typer.echo(f"Key ID: {public.key_id}", err=True)


@app.command("sign")
def sign_command(  # noqa: PLR0913  one parameter for each option
    *,
    tools_file: Annotated[
        Path,
        typer.Argument(
            metavar="TOOLS.json", help="A tools/list result, an array of tools, or an earlier manifest."
        ),
    ],
    server: _ServerOption,
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
    spiffe_id = _spiffe_id(server)
    signers = [_signer(path) for path in key]
    document = _contents("TOOLS.json", tools_file)
    issued_at = clock.now().replace(microsecond=0)
    listing = _listing(document)
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
    _print(manifest, Console(stderr=True, markup=False, highlight=False))
    _deliver(envelope, out)


@app.command("verify")
def verify_command(
    *,
    manifest_file: Annotated[Path, typer.Argument(metavar="FILE", help="A signed manifest.")],
    policy: Annotated[Path, typer.Option(help="The trust policy: who may sign what.")],
    server: _ServerOption,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="YYYY-MM-DDTHH:MM:SSZ; now if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Verify a signed manifest as an agent would."""
    try:
        trust = TrustPolicy.parse(_contents("--policy", policy))
    except Refused as refusal:
        _unusable("--policy", str(refusal))
    try:
        now = clock.now().replace(microsecond=0) if at is None else statement.parse_time(at, "TIME")
    except Refused as refusal:
        _unusable("--at", refusal.detail)
    spiffe_id = _spiffe_id(server)
    document = _contents("FILE", manifest_file)
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
    _print(verified.manifest, console)
    console.print(f"Verified. Signed by {', '.join(verified.all_signers())}.", style="green")


def _ed25519() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def _listing(document: bytes) -> _Listing:
    """The tools in a file, in whichever of the known forms it is."""
    value = loads(document)
    if isinstance(value, dict) and "payload" in value:
        return _earlier(dsse.parse(document).payload)
    if isinstance(value, dict) and "predicate" in value:
        return _earlier(canonical(value))
    if isinstance(value, dict) and "result" in value:  # the whole JSON-RPC answer
        value = value["result"]
    if isinstance(value, dict):
        if value.get("nextCursor") is not None:
            _unusable("TOOLS.json", "has a nextCursor: these are not all the tools of the server")
        value = value.get("tools")
    if not isinstance(value, list):
        _unusable("TOOLS.json", "neither a tools/list result, nor an array of tools, nor a manifest")
    return _Listing([_tool(item) for item in value])


def _earlier(payload: bytes) -> _Listing:
    manifest = statement.read(payload)
    return _Listing(
        tools=[dict(tool.definition) for tool in manifest.tools.values()],
        earlier=manifest,
        previous=Previous(manifest.serial, sha256_hex(payload)),
    )


def _tool(item: JsonValue) -> JsonObject:
    if not isinstance(item, dict):
        raise Refused(Reason.MANIFEST_DEFINITION, "a tool that is not an object")
    return item


def _reviewed(listing: _Listing, word: _Word) -> dict[str, SignedTool]:
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
            _unusable("--risk", refusal.detail)
    return risks


def _refuse_strangers(option: str, names: AbstractSet[str]) -> None:
    """A misspelt tool would silently keep the default."""
    if names:
        _unusable(option, f"no such tool: {', '.join(sorted(names))}")


def _spiffe_id(server: str) -> SpiffeId:
    try:
        return SpiffeId.parse(server)
    except Refused as refusal:
        _unusable("--server", refusal.detail)


def _signer(path: Path) -> FileSigner:
    try:
        return FileSigner.from_pem(_contents("--key", path))
    except Refused as refusal:
        _unusable("--key", f"{path}: {refusal.detail}")


def _contents(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _unusable(option, f"{path}: {error.strerror}")


def _deliver(envelope: bytes, out: Path | None) -> None:
    if out is None:
        typer.echo(envelope, nl=False)
        return
    try:
        out.write_bytes(envelope)
    except OSError as error:
        _unusable("--out", f"{out}: {error.strerror}")


def _print(manifest: Manifest, console: Console) -> None:
    table = Table("Tool", "Risk", "Approval", box=SIMPLE)
    table.add_column("Digest", overflow="fold")
    for tool in manifest.tools.values():
        table.add_row(
            tool.name, tool.risk_level.value, "yes" if tool.requires_approval else "no", tool.digest
        )
    console.print(f"{manifest.name} {manifest.version}, serial {manifest.serial}, {manifest.server}")
    console.print(f"expires {statement.format_time(manifest.expires_at)}")
    console.print(table)


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


def _unusable(option: str, why: str) -> NoReturn:
    raise typer.BadParameter(why, param_hint=option)
