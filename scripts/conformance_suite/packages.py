"""The suite, and the Python SDK's own server and client, which no wheel has: pinned, in a cache.

Enters: nothing but what is pinned here and in `conformance/`. Leaves: `Packages`, paths in the user's cache.
Needs npm, and node only as old as npm needs it: the suite's own is among the packages.
"""

import hashlib
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.fetching import UnavailableError, kept, modules_of, run

_NPM: Final = Path(__file__).with_name("conformance")
_SDK: Final = "mcp==2.3.0"
_SDK_SHA256: Final = "8b147a50441cf059dc88c684e0aeed3687f0aa0f39c6cde7b90330effd2b34d8"


@dataclass(frozen=True, slots=True)
class Packages:
    """Where everything is."""

    node: Path
    suite: Path  # the suite's program, for node
    server: Path  # the folder of the package mcp_everything_server
    client: Path  # the SDK's conformance client, a program


def packages() -> Packages:
    """All of it, fetched if it is not there yet; raises `UnavailableError`."""
    modules = modules_of(_NPM)
    sdk = kept("mcp", _SDK_SHA256[:16], _unpack)
    nodes = sorted(modules.glob("node-linux-*/bin/node"))
    if not nodes:
        raise UnavailableError("there is no node for this machine among the packages")
    return Packages(
        node=nodes[0],
        suite=modules / "@modelcontextprotocol/conformance/dist/index.js",
        server=sdk / "examples/servers/everything-server",
        client=sdk / ".github/actions/conformance/client.py",
    )


def _unpack(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as fetched:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        run([*command, "--dest", fetched, _SDK], Path(fetched))
        [archive] = Path(fetched).glob("*.tar.gz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != _SDK_SHA256:
            raise UnavailableError(f"{archive.name} is not what is pinned")
        with tarfile.open(archive) as tar:
            tar.extractall(fetched, filter="data")
        archive.with_name(archive.name.removesuffix(".tar.gz")).rename(folder)
