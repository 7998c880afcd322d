"""Which MCP a message speaks: told from its body and its `MCP-Protocol-Version` header, which must agree.

Two eras: `modern` (2026-07-28: stateless, every request carries its version in `_meta` and in headers) and
`legacy` (up to 2025-11-25: `initialize`, then the negotiated version in a header). A message that one
server would read as modern and another as legacy is refused, whichever it meant.

This module knows versions; what a method means in an era is in `methods`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import headers as mcp_headers
from spiffe_mcp.mcp.headers import MirrorHeaders
from spiffe_mcp.mcp.message import Message, Notification, Request, Response
from spiffe_mcp.strict_json import JsonObject, JsonValue

META: Final = "_meta"
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"

MAX_SHOWN: Final = 64  # characters of a version that is not one


class Era(Enum):
    """The two families of protocol revisions."""

    MODERN = "modern"
    LEGACY = "legacy"


MODERN_VERSIONS: Final = ("2026-07-28",)
LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
# Newest first, as clients pick.
SUPPORTED_VERSIONS: Final = (*MODERN_VERSIONS, *LEGACY_VERSIONS)

# Clients of revisions before 2025-06-18 send no version header: "the server SHOULD assume protocol version
# 2025-03-26" (2025-06-18 basic/transports). Every decision is made on the body, so nothing hangs on it;
# a route that leaves this version out of its supported ones demands the header.
ASSUMED_VERSION: Final = "2025-03-26"


@dataclass(frozen=True, slots=True)
class Revision:
    """The protocol revision of one message. `version` is None while `initialize` negotiates it."""

    era: Era
    version: str | None


class VersionRefused(Refused):
    """A version that is not spoken here; `detail` is the caller's own word for it, `supported` what is."""

    def __init__(self, reason: Reason, requested: str, supported: Collection[str]) -> None:
        super().__init__(reason, requested)
        self.supported = tuple(supported)


def versions_from(minimum: Era) -> tuple[str, ...]:
    """The versions spoken where no era before `minimum` is."""
    return MODERN_VERSIONS if minimum is Era.MODERN else SUPPORTED_VERSIONS


NEGOTIATING: Final = Revision(Era.LEGACY, None)
_REVISIONS: Final = {
    **{version: Revision(Era.MODERN, version) for version in MODERN_VERSIONS},
    **{version: Revision(Era.LEGACY, version) for version in LEGACY_VERSIONS},
}


def decide(
    message: Request | Notification,
    mirrors: MirrorHeaders,
    supported: Collection[str] = SUPPORTED_VERSIONS,
) -> Revision:
    """The revision that `message` and its headers agree on, if it is one of `supported`.

    Raises `Refused`: `MCP_META_MALFORMED`, `MCP_META_MISSING`, `MCP_VERSION_MISMATCH`,
    `MCP_VERSION_UNSUPPORTED`, and `MCP_ERA_BELOW_MINIMUM` for a legacy message where no legacy version is
    spoken (of both the detail is the caller's own word for the version).
    """
    header = mirrors.get(mcp_headers.VERSION)
    meta = _meta(message.params)
    if meta is None or VERSION_KEY not in meta:
        revision = _by_header(message, header, supported)
    else:
        revision = _by_envelope(message, meta, header, supported)
    _require_supported(revision, message, supported)
    return revision


def has_sessions(mirrors: MirrorHeaders, supported: Collection[str] = SUPPORTED_VERSIONS) -> bool:
    """Whether a request that holds no call is of a revision with sessions, by its header: a legacy one.

    Raises `Refused(MCP_VERSION_UNSUPPORTED)` for one that is not spoken here.
    """
    header = mirrors.get(mcp_headers.VERSION)
    version = ASSUMED_VERSION if header is None else header.decode("latin-1")
    if version not in supported:
        raise VersionRefused(Reason.MCP_VERSION_UNSUPPORTED, version[:MAX_SHOWN], supported)
    return _REVISIONS[version].era is Era.LEGACY


def presumed_era(message: Message) -> Era:
    """The era whose form an error answer to `message` takes, whatever rules the message breaks."""
    params = None if isinstance(message, Response) else message.params
    meta = (params or {}).get(META)
    return Era.MODERN if isinstance(meta, dict) and VERSION_KEY in meta else Era.LEGACY


def _by_envelope(
    message: Request | Notification, meta: JsonObject, header: bytes | None, supported: Collection[str]
) -> Revision:
    """A body that names its version is modern (2026-07-28 basic/index "Per-request protocol fields")."""
    # 1: the header names the same version. Absence disagrees too: it would make the server read legacy.
    version = meta[VERSION_KEY]
    if not isinstance(version, str):
        raise Refused(Reason.MCP_META_MALFORMED, f"{VERSION_KEY} is not a string")
    if header is None or header != version.encode():
        raise Refused(Reason.MCP_VERSION_MISMATCH, "header and _meta name different versions")
    # 2: it is a version that is spoken in this way. A legacy version in a modern envelope is not one; the
    # caller is told of none, for it would send it in an envelope again.
    if version not in MODERN_VERSIONS:
        spoken = [modern for modern in MODERN_VERSIONS if modern in supported]
        raise VersionRefused(Reason.MCP_VERSION_UNSUPPORTED, version[:MAX_SHOWN], spoken)
    # 3: the rest of the envelope.
    if isinstance(message, Request):
        _require_capabilities(meta)
    return _REVISIONS[version]


def _by_header(message: Request | Notification, header: bytes | None, supported: Collection[str]) -> Revision:
    """A body without a version is legacy, unless its header claims otherwise."""
    if header is None:
        return NEGOTIATING if message.method == "initialize" else _REVISIONS[ASSUMED_VERSION]
    revision = _REVISIONS.get(header.decode("latin-1"))
    if revision is None:
        shown = header.decode("latin-1")[:MAX_SHOWN]
        raise VersionRefused(Reason.MCP_VERSION_UNSUPPORTED, shown, supported)
    if revision.era is Era.MODERN and isinstance(message, Request):
        raise Refused(Reason.MCP_META_MISSING, VERSION_KEY)
    if message.method == "initialize":
        return NEGOTIATING
    return revision


def _meta(params: JsonObject | None) -> JsonObject | None:
    if params is None or META not in params:
        return None
    meta: JsonValue = params[META]
    if not isinstance(meta, dict):
        raise Refused(Reason.MCP_META_MALFORMED, "_meta is not an object")
    return meta


def _require_capabilities(meta: JsonObject) -> None:
    if CAPABILITIES_KEY not in meta:
        raise Refused(Reason.MCP_META_MISSING, CAPABILITIES_KEY)
    if not isinstance(meta[CAPABILITIES_KEY], dict):
        raise Refused(Reason.MCP_META_MALFORMED, f"{CAPABILITIES_KEY} is not an object")


def _require_supported(
    revision: Revision, message: Request | Notification, supported: Collection[str]
) -> None:
    if revision.era is Era.LEGACY and not any(version in supported for version in LEGACY_VERSIONS):
        # 2026-07-28 basic/versioning: a modern-only endpoint answers `initialize` with what it speaks.
        requested = revision.version or _requested(message)
        raise VersionRefused(Reason.MCP_ERA_BELOW_MINIMUM, requested, supported)
    if revision.version is not None and revision.version not in supported:
        raise VersionRefused(Reason.MCP_VERSION_UNSUPPORTED, revision.version, supported)


def _requested(message: Request | Notification) -> str:
    """The version that `initialize` asks for, in the caller's own words."""
    requested = (message.params or {}).get("protocolVersion")
    return requested[:MAX_SHOWN] if isinstance(requested, str) else ""
