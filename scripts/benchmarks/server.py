"""The MCP server that every target leads to, and the other native programs: compiled once, kept in the cache.

Needs Go. What is built is named by what it was built from, so that a changed source is never measured as the
old one.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmarks.programs import Address, program, started

_SOURCES: Final = Path(__file__).parent / "native"


@dataclass(frozen=True, slots=True)
class Server:
    """The MCP server, running."""

    address: Address
    pid: int

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{self.address}/mcp"


def cache() -> Path:
    """Where the benchmark keeps what it builds and installs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "spiffe-mcp" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def native() -> Path:
    """The compiled program; raises `UnavailableError` where there is no Go."""
    sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in {".go", ".mod"})
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    built = cache() / f"native-{digest}"
    if not built.exists():
        unfinished = built.with_suffix(f".{os.getpid()}")
        build = [program("go"), "build", "-trimpath", "-o", str(unfinished), "."]
        subprocess.run(build, cwd=_SOURCES, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        unfinished.rename(built)
    return built


@contextmanager
def serving(folder: Path, tools: int = 3) -> Iterator[Server]:
    """The MCP server, listing so many tools."""
    log = folder / f"server-{tools}.log"
    with started([native(), "serve", f"-tools={tools}"], log) as process:
        _, _, port = process.first_line().rpartition(":")
        yield Server(Address(int(port)), process.pid)
