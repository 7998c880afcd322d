"""Where calls go: the servers that an egress reaches, and those that an ingress stands before.

A server has one name on both sides of a hop; its MCP endpoint there is `/<name>/mcp`. Pure.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Self
from urllib.parse import urlsplit

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import IdPattern
from spiffe_mcp.manifest import VerifiedManifest
from spiffe_mcp.mcp import Era

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# RFC 1123 section 2.1, and the underscore that container networks allow; `Host` and `htu` carry it as it is.
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class ServerName:
    """The name of a server in paths: a DNS label."""

    text: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.text):
            raise ValueError(self.text)

    @property
    def path(self) -> bytes:
        """The path of its MCP endpoint, at egress and at ingress."""
        return f"/{self.text}/mcp".encode()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, `host:port` or `[v6]:port`; ValueError for a host that cannot be resolved."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if ":" in self.host:
            IPv6Address(self.host)
        elif not _HOST.fullmatch(self.host):
            raise ValueError(self.host)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address that `text` spells; raises ValueError."""
        parts = urlsplit(f"//{text}")
        if parts.netloc != text or parts.hostname is None or parts.port is None or "@" in text:
            raise ValueError(text)
        if text.startswith("[") != (":" in parts.hostname):  # RFC 3986 section 3.2.2: brackets are for IPv6
            raise ValueError(text)
        return cls(parts.hostname, parts.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EgressRoute:
    """A server that local workloads may call: who it must prove to be, and where it is."""

    name: ServerName
    server: IdPattern  # with wildcards for the instances of one server that each have an ID of their own
    address: Address
    minimum_era: Era = Era.LEGACY


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """An MCP server behind an ingress, reached over plain HTTP on this node."""

    address: Address
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The upstream that an `http://host:port/path` URL names; raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme != "http" or parts.query or parts.fragment or not parts.path.startswith("/"):
            raise ValueError(text)
        if not parts.path.isascii() or not parts.path.isprintable() or " " in parts.path:
            raise ValueError(text)
        return cls(Address.parse(parts.netloc if parts.port else f"{parts.netloc}:80"), parts.path)


@dataclass(frozen=True, slots=True)
class IngressRoute:
    """A local MCP server, and what its publisher signed of it."""

    name: ServerName
    upstream: HttpUpstream
    manifest: VerifiedManifest
    minimum_era: Era = Era.LEGACY


def unknown_path(path: bytes) -> Refused:
    """The refusal of a path at which no server answers."""
    # The path itself stays out of the record: people do put keys into URLs.
    return Refused(Reason.ROUTE_UNKNOWN, f"a path of {len(path)} bytes")
