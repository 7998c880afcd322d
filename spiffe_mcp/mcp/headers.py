"""The MCP headers of an HTTP request, which mirror its body: read once, compared, and then not trusted.

Headers enter as (lower-case name, value) pairs of bytes. A value that differs from the body is refused, so
that whoever routes by headers and whoever executes the body do the same thing (streamable-http, "Server
Validation"). Decisions are made on the body alone.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.message import Notification, Request

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
MirrorHeaders: TypeAlias = Mapping[bytes, bytes]

VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"

# Streamable HTTP "Standard headers": the member of `params` that Mcp-Name mirrors.
# Those of tasks are the extension's ("Streamable HTTP: Routing Headers").
NAME_KEYS: Final[Mapping[str, str]] = {
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/cancel": "taskId",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tools/call": "name",
}

_PREFIX: Final = b"mcp-"
_OWS: Final = b" \t"  # RFC 9110 section 5.6.3
_SENTINEL: Final = re.compile(rb"=\?base64\?(.*)\?=")
_PLAIN: Final = re.compile(rb"[\x20-\x7e]*")


def mirror_headers(headers: Headers) -> MirrorHeaders:
    """The `Mcp-*` headers, each at most once, values without surrounding white space.

    Two of one name are refused (`MCP_HEADER_DUPLICATE`): readers of the first and of the last would differ.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(_PREFIX):
            if name in found:
                raise Refused(Reason.MCP_HEADER_DUPLICATE, shown(name))
            found[name] = value.strip(_OWS)
    return found


def require_mirrors(mirrors: MirrorHeaders, message: Request) -> None:
    """Return if the mirrors that 2026-07-28 demands of `message` are there; else `MCP_HEADER_MISSING`."""
    if METHOD not in mirrors:
        raise Refused(Reason.MCP_HEADER_MISSING, shown(METHOD))
    if message.method in NAME_KEYS and NAME not in mirrors:
        raise Refused(Reason.MCP_HEADER_MISSING, shown(NAME))


def compare_mirrors(mirrors: MirrorHeaders, message: Request | Notification) -> None:
    """Return if Mcp-Method and Mcp-Name, where present, say what the body says; in every era.

    Raises `Refused`: `MCP_HEADER_MISMATCH`, `MCP_HEADER_MALFORMED`. Values are compared exactly. A name
    mirrored from a body that has none to mirror is a mismatch as well.
    """
    method = mirrors.get(METHOD)
    if method is not None and method != message.method.encode():
        raise Refused(Reason.MCP_HEADER_MISMATCH, shown(METHOD))
    name = mirrors.get(NAME)
    if name is None:
        return
    key = NAME_KEYS.get(message.method)
    wanted = (message.params or {}).get(key) if key is not None else None
    if not isinstance(wanted, str) or decode(name) != wanted:
        raise Refused(Reason.MCP_HEADER_MISMATCH, shown(NAME))


def decode(value: bytes) -> str:
    """The text of a header value: plain visible ASCII, or UTF-8 in the `=?base64?...?=` sentinel.

    Only the canonical base64 of UTF-8 is read (RFC 4648 section 3.5); all else is `MCP_HEADER_MALFORMED`.
    """
    sentinel = _SENTINEL.fullmatch(value)
    if sentinel is None:
        if not _PLAIN.fullmatch(value):
            raise Refused(Reason.MCP_HEADER_MALFORMED, "not visible ASCII")
        return value.decode("ascii")
    payload = sentinel.group(1)
    try:
        octets = b64decode(payload, validate=True)
        text = octets.decode("utf-8")
    except (Base64Error, UnicodeDecodeError):
        raise Refused(Reason.MCP_HEADER_MALFORMED, "base64") from None
    if b64encode(octets) != payload:
        raise Refused(Reason.MCP_HEADER_MALFORMED, "base64 is not canonical")
    return text


def encode(text: str) -> bytes:
    """The header value that mirrors `text`: as it is when that survives HTTP, else in the sentinel."""
    octets = text.encode("utf-8")
    plain = _PLAIN.fullmatch(octets) and octets == octets.strip(_OWS) and not _SENTINEL.fullmatch(octets)
    return octets if plain else b"=?base64?" + b64encode(octets) + b"?="


def shown(value: bytes) -> str:
    """A header's bytes as they may stand in a log line: bounded, control characters escaped."""
    return ascii(value[:80].decode("latin-1"))
