"""The files of the manifest commands: read, understood as a list of tools, written.

Enters: paths and options. Leaves: bytes and `Listing`. What cannot be read or used ends the command with exit
code 2, and a message that names the option and never quotes what a file holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import canonical, sha256_hex
from spiffe_mcp.manifest.model import Manifest, Previous
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads

ServerOption = Annotated[str, typer.Option("--server", help="SPIFFE ID of the MCP server.")]


@dataclass(frozen=True, slots=True)
class Listing:
    """The tools that a file lists, and what an earlier manifest said of them."""

    tools: list[JsonObject]
    earlier: Manifest | None = None
    previous: Previous | None = None


def listing_of(document: bytes) -> Listing:
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
            unusable("TOOLS.json", "has a nextCursor: these are not all the tools of the server")
        value = value.get("tools")
    if not isinstance(value, list):
        unusable("TOOLS.json", "neither a tools/list result, nor an array of tools, nor a manifest")
    return Listing([_tool(item) for item in value])


def _earlier(payload: bytes) -> Listing:
    manifest = statement.read(payload)
    return Listing(
        tools=[dict(tool.definition) for tool in manifest.tools.values()],
        earlier=manifest,
        previous=Previous(manifest.serial, sha256_hex(payload)),
    )


def _tool(item: JsonValue) -> JsonObject:
    if not isinstance(item, dict):
        raise Refused(Reason.MANIFEST_DEFINITION, "a tool that is not an object")
    return item


def server_id(server: str) -> SpiffeId:
    """The ID that `--server` names, or the end of the command."""
    try:
        return SpiffeId.parse(server)
    except Refused as refusal:
        unusable("--server", refusal.detail)


def contents(option: str, path: Path) -> bytes:
    """What is in the file that `option` names, or the end of the command."""
    try:
        return path.read_bytes()
    except OSError as error:
        unusable(option, f"{path}: {error.strerror}")


def deliver(envelope: bytes, out: Path | None) -> None:
    """Write `envelope` to `out`, or to standard output."""
    if out is None:
        typer.echo(envelope, nl=False)
        return
    try:
        out.write_bytes(envelope)
    except OSError as error:
        unusable("--out", f"{out}: {error.strerror}")


def unusable(option: str, why: str) -> NoReturn:
    """End the command with exit code 2."""
    raise typer.BadParameter(why, param_hint=option)
