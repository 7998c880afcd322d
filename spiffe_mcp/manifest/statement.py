"""The in-toto Statement that carries a manifest: payload bytes to `Manifest`, and back.

Enters: the payload of an envelope. Leaves: a `Manifest`, or a refusal with the rule's own reason. The schema
is closed, digests are computed anew, and the bytes must be the canonical form of what they say: one manifest
has one spelling. `write` then `read` is how a publisher's statement is made, so nothing can be signed that
could not be loaded.

in-toto Statement v1 with predicate `urn:spiffe-mcp:tool-manifest:v1`. Pure: no I/O, no clock, no keys.
"""

import re
from datetime import UTC, datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest.canonical import MAX_INTEGER, canonical
from spiffe_mcp.manifest.fields import Faults, Fields
from spiffe_mcp.manifest.model import (
    MAX_TOOLS,
    Manifest,
    Previous,
    RiskLevel,
    SignedTool,
    toolset_digest,
)
from spiffe_mcp.manifest.text import check_text
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:spiffe-mcp:tool-manifest:v1"

MAX_STATEMENT_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_INSTRUCTIONS: Final = 64 * 1024  # characters

_FAULTS: Final = Faults(
    unknown=Reason.MANIFEST_FIELD_UNKNOWN,
    missing=Reason.MANIFEST_FIELD_MISSING,
    invalid=Reason.MANIFEST_FIELD_INVALID,
)
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_HEX_256: Final = re.compile(r"[0-9a-f]{64}")


def read(payload: bytes) -> Manifest:
    """The manifest that `payload` states.

    Raises `Refused`: `JSON_*`, `ID_MALFORMED`, and the `MANIFEST_*` reason of the rule that is broken.
    """
    document = loads(payload, max_bytes=MAX_STATEMENT_BYTES, max_depth=MAX_DEPTH)
    statement = _closed(document, "$", {"_type", "subject", "predicateType", "predicate"})
    if statement.members["_type"] != STATEMENT_TYPE:
        raise Refused(Reason.MANIFEST_STATEMENT_TYPE, "$._type")
    if statement.members["predicateType"] != PREDICATE_TYPE:
        raise Refused(Reason.MANIFEST_PREDICATE_TYPE, "$.predicateType")
    manifest = _manifest(statement.members["predicate"])
    _check_subject(statement, manifest)
    # Last, because each other rule says more precisely what is wrong.
    if canonical(document) != payload:
        raise Refused(Reason.MANIFEST_NOT_CANONICAL, "the payload is not in its RFC 8785 form")
    return manifest


def write(manifest: Manifest) -> bytes:
    """The canonical payload that states `manifest`; raises what `read` raises, as for one too large."""
    subject: JsonObject = {
        "name": str(manifest.server),
        "digest": {"sha256": toolset_digest(manifest.instructions, manifest.tools)},
    }
    payload = canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": PREDICATE_TYPE,
            "predicate": _predicate(manifest),
        }
    )
    read(payload)
    return payload


def parse_time(text: JsonValue, path: str) -> datetime:
    """`YYYY-MM-DDTHH:MM:SSZ`, the one form (of RFC 3339) that a manifest allows; aware, UTC."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Refused(Reason.MANIFEST_TIME_FORMAT, f"{path}: not YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise Refused(Reason.MANIFEST_TIME_FORMAT, f"{path}: no such moment") from None


def format_time(moment: datetime) -> str:
    """The inverse of `parse_time`; fractions of a second are cut off."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _manifest(value: JsonValue) -> Manifest:
    predicate = _closed(
        value, "$.predicate", {"server", "serial", "issuedAt", "expiresAt", "previous", "tools"}
    )
    server = _closed(
        predicate.members["server"], "$.predicate.server", {"spiffeId", "name", "version"}, {"instructions"}
    )
    return Manifest(
        server=SpiffeId.parse(server.text("spiffeId", at_most=2048)),
        name=_shown(server, "name", 256),
        version=_shown(server, "version", 256),
        instructions=_shown(server, "instructions", MAX_INSTRUCTIONS)
        if "instructions" in server.members
        else None,
        serial=_serial(predicate.members["serial"]),
        issued_at=parse_time(predicate.members["issuedAt"], predicate.path_of("issuedAt")),
        expires_at=parse_time(predicate.members["expiresAt"], predicate.path_of("expiresAt")),
        previous=_previous(predicate.members["previous"]),
        tools=_tools(predicate),
    )


def _serial(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(Reason.MANIFEST_SERIAL, "$.predicate.serial: not an integer")
    return value


def _previous(value: JsonValue) -> Previous | None:
    if value is None:
        return None
    previous = _closed(value, "$.predicate.previous", {"serial", "sha256"})
    sha256 = previous.text("sha256")
    if not _HEX_256.fullmatch(sha256):
        raise previous.refused("sha256", "not 64 lower-case hex digits")
    return Previous(previous.integer("serial", at_least=1, at_most=MAX_INTEGER), sha256)


def _tools(predicate: Fields) -> dict[str, SignedTool]:
    items = list(predicate.array("tools"))
    if len(items) > MAX_TOOLS:  # before the work of reading them
        raise Refused(Reason.MANIFEST_TOOL_COUNT, f"{len(items)} tools, at most {MAX_TOOLS}")
    tools: dict[str, SignedTool] = {}
    for path, item in items:
        tool = _tool(item, path)
        if tool.name in tools:
            raise Refused(Reason.MANIFEST_TOOL_ORDER, f"{path}: {tool.name} stands here twice")
        tools[tool.name] = tool
    return tools


def _tool(value: JsonValue, path: str) -> SignedTool:
    item = _closed(value, path, {"definition", "digest", "riskLevel", "requiresApproval", "volatileMeta"})
    definition = item.members["definition"]
    if not isinstance(definition, dict):
        raise Refused(Reason.MANIFEST_DEFINITION, f"{path}.definition: not an object")
    tool = SignedTool(
        definition,
        risk_level=parse_risk(item.members["riskLevel"], item.path_of("riskLevel")),
        requires_approval=item.boolean("requiresApproval"),
        volatile_meta=_volatile_meta(item),
    )
    if item.members["digest"] != tool.digest:
        raise Refused(Reason.MANIFEST_TOOL_DIGEST, f"{path}.digest: not that of {tool.name}")
    return tool


def parse_risk(value: JsonValue, path: str) -> RiskLevel:
    """The level that `value` names; raises `Refused(MANIFEST_RISK_LEVEL)`."""
    try:
        return RiskLevel(value)
    except ValueError:
        levels = ", ".join(level.value for level in RiskLevel)
        raise Refused(Reason.MANIFEST_RISK_LEVEL, f"{path}: none of {levels}") from None


def _volatile_meta(item: Fields) -> frozenset[str]:
    keys = item.texts("volatileMeta")
    if list(keys) != sorted(keys):
        raise item.refused("volatileMeta", "not sorted")
    for key in keys:
        check_text(key, item.path_of("volatileMeta"))
    return frozenset(keys)


def _check_subject(statement: Fields, manifest: Manifest) -> None:
    """Exactly one subject: the server, with the digest of what its tools show (in-toto Statement v1)."""
    subjects = list(statement.array("subject"))
    if len(subjects) != 1:
        raise Refused(Reason.MANIFEST_SUBJECT, f"$.subject: {len(subjects)} subjects, not one")
    path, value = subjects[0]
    subject = _closed(value, path, {"name", "digest"})
    if subject.members["name"] != str(manifest.server):
        raise Refused(Reason.MANIFEST_SUBJECT, f"{path}.name: not the server of the predicate")
    hashes = _closed(subject.members["digest"], f"{path}.digest", {"sha256"})
    if hashes.members["sha256"] != toolset_digest(manifest.instructions, manifest.tools):
        raise Refused(Reason.MANIFEST_SUBJECT_DIGEST, f"{path}.digest.sha256")


def _shown(record: Fields, name: str, at_most: int) -> str:
    """Text that a person or a model gets to see."""
    text = record.text(name, at_most=at_most)
    check_text(text, record.path_of(name))
    return text


def _closed(value: JsonValue, path: str, required: set[str], optional: set[str] | None = None) -> Fields:
    return Fields.of(value, path, _FAULTS, required=required, optional=optional)


def _predicate(manifest: Manifest) -> JsonObject:
    server: JsonObject = {
        "spiffeId": str(manifest.server),
        "name": manifest.name,
        "version": manifest.version,
    }
    if manifest.instructions is not None:
        server["instructions"] = manifest.instructions
    previous = manifest.previous
    return {
        "server": server,
        "serial": manifest.serial,
        "issuedAt": format_time(manifest.issued_at),
        "expiresAt": format_time(manifest.expires_at),
        "previous": {"serial": previous.serial, "sha256": previous.sha256} if previous else None,
        "tools": [_tool_json(tool) for tool in manifest.tools.values()],
    }


def _tool_json(tool: SignedTool) -> JsonObject:
    return {
        "definition": dict(tool.definition),
        "digest": tool.digest,
        "riskLevel": tool.risk_level.value,
        "requiresApproval": tool.requires_approval,
        "volatileMeta": [*sorted(tool.volatile_meta)],
    }
