"""Where an MCP server behind an ingress is, and how it is reached: values only, connected to elsewhere. Pure.

    http://host:port/path         TCP, in clear: a server on this node, or behind what secures the way itself
    https://host[:port]/path      TLS with ordinary CAs: a server elsewhere
    unix:/path/to.sock:/path      a Unix socket of this node

A host may be a DNS name, and stand for several addresses; they are one server.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

from spiffe_mcp.mesh.addresses import Address

LONGEST_SOCKET: Final = 107  # bytes; sun_path of unix(7) has 108, the last of them NUL
_PORTS: Final = {"http": 80, "https": 443}
# RFC 3986 section 3.3, without what would have to be escaped.
_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")


@dataclass(frozen=True, slots=True)
class Trust:
    """Which authorities may vouch for a server's name: those in the file; without one, the system's."""

    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """An MCP server that is reached over TCP: in clear, or over TLS if it has a `trust`."""

    address: Address
    path: str
    trust: Trust | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The upstream that an `http://` or `https://` URL names; raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme not in _PORTS or parts.query or parts.fragment or "?" in text or "#" in text:
            raise ValueError(text)
        trust = Trust() if parts.scheme == "https" else None
        # RFC 9110 section 4.2.3: an empty path is the same as "/".
        return cls(_address(parts), _checked_path(parts.path or "/"), trust)

    @property
    def host(self) -> bytes:
        """The value of `Host` (RFC 9110 section 7.2)."""
        # Servers that guard against DNS rebinding compare it with a port; those behind TLS know no other.
        is_default = self.trust is not None and self.address.port == _PORTS["https"]
        text = str(self.address)
        return (text.rpartition(":")[0] if is_default else text).encode()

    def __str__(self) -> str:
        return f"{'http' if self.trust is None else 'https'}://{self.address}{self.path}"


@dataclass(frozen=True, slots=True)
class UnixUpstream:
    """An MCP server that listens on a Unix socket of this node."""

    socket: Path
    path: str

    def __post_init__(self) -> None:
        if not self.socket.is_absolute() or len(bytes(self.socket)) > LONGEST_SOCKET:
            raise ValueError(str(self.socket))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The upstream that `unix:/path/to.sock:/path` names; raises ValueError."""
        scheme, _, rest = text.partition(":")
        socket, colon, path = rest.partition(":")
        if scheme != "unix" or not colon:
            raise ValueError(text)
        return cls(Path(socket), _checked_path(path))

    @property
    def host(self) -> bytes:
        """The value of `Host`: a socket has no name, and guards against rebinding know this."""
        return b"localhost:80"

    def __str__(self) -> str:
        return f"unix:{self.socket}:{self.path}"


Target: TypeAlias = HttpUpstream | UnixUpstream


def parse_target(text: str) -> Target:
    """The target that `text` names; raises ValueError."""
    return UnixUpstream.parse(text) if text.startswith("unix:") else HttpUpstream.parse(text)


def _address(parts: SplitResult) -> Address:
    return Address.parse(parts.netloc if parts.port else f"{parts.netloc}:{_PORTS[parts.scheme]}")


def _checked_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError(path)
    return path
