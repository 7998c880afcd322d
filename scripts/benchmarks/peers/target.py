"""What a target is: something that leads to the MCP server, and runs for as long as a block."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scripts.benchmarks import calls
from scripts.benchmarks.calls import Form
from scripts.benchmarks.credentials import Credentials
from scripts.benchmarks.programs import Address
from scripts.benchmarks.server import Server


@dataclass(frozen=True, slots=True)
class Site:
    """What every target is given."""

    folder: Path  # for its files; its own
    server: Server
    credentials: Credentials
    workers: int  # processes or threads on each side


@dataclass(frozen=True, slots=True)
class Running:
    """A target that is up: how it is called, and which processes it consists of."""

    url: str
    processes: Mapping[str, int]  # role -> the process that was started; its children count with it
    form: Form = field(default_factory=calls.modern)
    ingress: Address | None = None  # where its mutual TLS is
    client: Path | None = None  # certificate chain and key that `ingress` admits, PEM; the peers' if None


class Target(Protocol):
    """One way to the MCP server."""

    @property
    def name(self) -> str:
        """How it is called in commands and results."""

    @property
    def title(self) -> str:
        """How it is called in a table."""

    def running(self, site: Site) -> AbstractContextManager[Running]:
        """It, until the block ends; raises `UnavailableError` where this machine lacks something."""
