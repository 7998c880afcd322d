"""Where calls go: the servers that an egress reaches, and those that an ingress stands before.

A server has one name on both sides of a hop; its MCP endpoint there is `/<name>/mcp`. Pure.
"""

import re
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import IdPattern
from spiffe_mcp.manifest import VerifiedManifest
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.targets import Target

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


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
class EgressRoute:
    """A server that local workloads may call: who it must prove to be, and where it is."""

    name: ServerName
    server: IdPattern  # with wildcards for the instances of one server that each have an ID of their own
    addresses: tuple[Address, ...]  # at least one; the first is the one that is preferred
    minimum_era: Era = Era.LEGACY


@dataclass(frozen=True, slots=True)
class IngressRoute:
    """A local MCP server, and what its publisher signed of it."""

    name: ServerName
    upstream: Target
    manifest: VerifiedManifest
    minimum_era: Era = Era.LEGACY


def unknown_path(path: bytes) -> Refused:
    """The refusal of a path at which no server answers."""
    # The path itself stays out of the record: people do put keys into URLs.
    return Refused(Reason.ROUTE_UNKNOWN, f"a path of {len(path)} bytes")
