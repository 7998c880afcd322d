"""The SDKs, each ready to run: from packages that are pinned beside its programs, in the user's cache."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.fetching import digest, kept, modules_of, needed, run

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Kit:
    """One SDK. `client` and `server` are commands."""

    name: str
    client: tuple[str, ...]
    server: tuple[str, ...] | None = None


def python2() -> Kit:
    """The version that is installed for the tests."""
    client = (sys.executable, str(HERE / "python2/client.py"))
    return Kit("Python `mcp` 2.3.0", client)


def python1() -> Kit:
    """The newest of the older line, in an environment of its own."""
    locked = HERE / "python1/requirements.txt"

    def make(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder], HERE)
        # By module: the programs of an environment name the folder that it was made in.
        python = str(folder / "bin/python")
        run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", locked], HERE)

    python = str(kept("python1", digest(locked), make) / "bin/python")
    folder = HERE / "python1"
    return Kit(
        "Python `mcp` 1.30.0", (python, str(folder / "client.py")), (python, str(folder / "server.py"))
    )


def typescript1() -> Kit:
    """`@modelcontextprotocol/sdk`."""
    node, folder = needed("node"), _beside_modules("typescript1")
    programs = [(node, str(folder / name)) for name in ("client.mjs", "server.mjs")]
    return Kit("TypeScript `sdk` 1.32.2", *programs)


def typescript2() -> Kit:
    """`@modelcontextprotocol/client`."""
    program = _beside_modules("typescript2") / "client.mjs"
    return Kit("TypeScript `client` 2.4.0", (needed("node"), str(program)))


def go() -> Kit:
    """`github.com/modelcontextprotocol/go-sdk`."""
    source = HERE / "go"
    files = [source / "go.sum", *sorted(source.rglob("*.go"))]

    def make(folder: Path) -> None:
        folder.mkdir()
        run([needed("go"), "build", "-o", folder, "./..."], source)

    programs = kept("go", digest(*files), make)
    return Kit("Go `go-sdk` 1.8.0", (str(programs / "client"),), (str(programs / "server"),))


def inspector() -> tuple[str, ...]:
    """The command of the Inspector, for one request at a time."""
    program = (
        modules_of(HERE / "inspector") / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
    )
    return (needed("node"), str(program), "--cli")


def _beside_modules(name: str) -> Path:
    """A folder with the programs of `name` where node finds what they import: above `node_modules`."""
    modules = modules_of(HERE / name)
    for program in (HERE / name).glob("*.mjs"):
        shutil.copy(program, modules.parent)
    return modules.parent


KITS: Final = {kit.__name__: kit for kit in (python2, python1, typescript1, typescript2, go)}
# What a client can be told to ask for; others ask for their newest revision.
MODES: Final = {
    "python2": ("auto", "legacy"),
    "typescript2": ("auto", "legacy"),
}
