"""A real SPIRE server and agent for tests, started by `scripts/spire`."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "spire"
MISSING = "spire-server and spire-agent are not on PATH"


def is_installed() -> bool:
    """Whether SPIRE can be started without a download; tests that need it skip with `MISSING` otherwise."""
    return bool(os.environ.get("SPIRE_BIN_DIR")) or all(map(shutil.which, ("spire-server", "spire-agent")))


@contextlib.contextmanager
def running_spire(
    tmp_path: Path,
    trust_domain: str = "mesh.test",
    entries: Iterable[tuple[str, int]] = (),
    *,
    mesh_agent: str = "",
) -> Iterator[str]:
    """SPIRE with an entry for each (SPIFFE ID, uid); yields the Workload API's address, `unix:///...`.

    `mesh_agent` is who may ask for the SVIDs of others, at `broker/broker.sock` and `admin/admin.sock` of the
    state. Without entries, `/ai-agent` and `/mcp/demo` of the trust domain are the current user's. The SVIDs
    of the current user are there when the block begins; another user's may take a second more. The state
    stands elsewhere if `tmp_path` is too long for a socket.
    """
    with _short_enough(tmp_path) as directory:
        arguments = ["--dir", str(directory), "--trust-domain", trust_domain]
        registered = [
            argument for spiffe_id, uid in entries for argument in ("--entry", f"{spiffe_id}={uid}")
        ]
        if mesh_agent:
            registered += ["--mesh-agent", mesh_agent]
        try:
            yield run("up", *arguments, *registered).stdout.splitlines()[-1]
        finally:
            run("down", *arguments)


def run(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """`scripts/spire` with these arguments and, beside ours, these environment variables."""
    ran = subprocess.run(
        [SCRIPT, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if check and ran.returncode != 0:
        raise AssertionError(f"scripts/spire {arguments[0]}: {ran.returncode}\n{ran.stderr}")
    return ran


@contextlib.contextmanager
def _short_enough(tmp_path: Path) -> Iterator[Path]:
    wanted = tmp_path / "spire"
    if len(os.fsencode(wanted / "public" / "agent.sock")) <= 107:  # unix(7)
        yield wanted
    else:
        with tempfile.TemporaryDirectory(dir="/tmp") as short:
            yield Path(short) / "spire"
