"""What tests need of others' packages: pinned, fetched once, in the user's cache, never in the tree.

Enters: what is pinned (a lock file, a digest). Leaves: folders. Half of one is never left, and what is there
is not fetched again.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path


class UnavailableError(Exception):
    """Something cannot be had on this machine; the message says why."""


def kept(name: str, version: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache that `make` has filled for this `version`, now or before."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spiffe-mcp" / "fetched"
    folder = cache / f"{name}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            make(Path(made) / "new")
            (Path(made) / "new").rename(folder)
    return folder


def digest(*files: Path) -> str:
    """A version for what is made from `files`."""
    together = hashlib.sha256()
    for file in files:
        together.update(hashlib.sha256(file.read_bytes()).digest())
    return together.hexdigest()[:16]


def modules_of(folder: Path) -> Path:
    """The `node_modules` that the lock file in `folder` names; raises `UnavailableError`."""

    def install(made: Path) -> None:
        """Have npm check each package against the lock file; no package's own script is run."""
        needed("npm")
        shutil.copytree(folder, made)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], made)

    return kept(folder.name, digest(folder / "package-lock.json"), install) / "node_modules"


def needed(program: str) -> str:
    """The path of `program`; raises `UnavailableError`."""
    if (found := shutil.which(program)) is None:
        raise UnavailableError(f"not on PATH: {program}")
    return found


def run(command: Sequence[str | Path], folder: Path) -> None:
    """Run `command` there to its end; raises `UnavailableError` with its last words if it fails."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode:
        words = " ".join(str(word) for word in command[:3])
        raise UnavailableError(f"{words}: {(ran.stderr or ran.stdout).strip()[-500:]}")
