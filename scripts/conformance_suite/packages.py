"""The suite, and the Python SDK's own server and client, which no wheel has: pinned, in a cache.

Enters: nothing but what is pinned here and in `npm/`. Leaves: `Packages`, paths in the user's cache. What is
there is not fetched again; what is fetched has the digest that is pinned. Needs npm, and node only as old as
npm needs it: the suite's own is among the packages.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NPM: Final = Path(__file__).with_name("npm")
_SDK: Final = "mcp==2.3.0"
_SDK_SHA256: Final = "8b147a50441cf059dc88c684e0aeed3687f0aa0f39c6cde7b90330effd2b34d8"


class UnavailableError(Exception):
    """The suite cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Where everything is."""

    node: Path
    suite: Path  # the suite's program, for node
    server: Path  # the folder of the package mcp_everything_server
    client: Path  # the SDK's conformance client, a program


def packages() -> Packages:
    """All of it, fetched if it is not there yet; raises `UnavailableError`."""
    modules = _kept("npm", _digest(_NPM / "package-lock.json"), _install) / "node_modules"
    sdk = _kept("mcp", _SDK_SHA256[:16], _unpack)
    nodes = sorted(modules.glob("node-linux-*/bin/node"))
    if not nodes:
        raise UnavailableError("there is no node for this machine among the packages")
    return Packages(
        node=nodes[0],
        suite=modules / "@modelcontextprotocol/conformance/dist/index.js",
        server=sdk / "examples/servers/everything-server",
        client=sdk / ".github/actions/conformance/client.py",
    )


def _kept(name: str, version: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` has filled, now or before; half of one is never left."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spiffe-mcp" / "conformance"
    folder = cache / f"{name}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            make(Path(made) / "new")
            (Path(made) / "new").rename(folder)
    return folder


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _install(folder: Path) -> None:
    """Have npm check each package against the lock file; no package's own script is run."""
    if shutil.which("npm") is None:
        raise UnavailableError("npm is not on PATH")
    shutil.copytree(_NPM, folder)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)


def _unpack(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as fetched:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        _run([*command, "--dest", fetched, _SDK], Path(fetched))
        [archive] = Path(fetched).glob("*.tar.gz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != _SDK_SHA256:
            raise UnavailableError(f"{archive.name} is not what is pinned")
        with tarfile.open(archive) as tar:
            tar.extractall(fetched, filter="data")
        archive.with_name(archive.name.removesuffix(".tar.gz")).rename(folder)


def _run(command: list[str], folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise UnavailableError(f"{' '.join(command[:3])}: {ran.stderr.strip()[-500:]}")
