"""`scripts/spire`: SPIRE on one machine, and the care with which its binaries are fetched."""

import asyncio
import hashlib
import io
import os
import platform
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from spiffe import WorkloadApiClient

from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.verify import verify_chain
from spiffe_mcp.identity.wanted import ById
from tests.fakes import spire

TOOL = SpiffeId.parse("spiffe://mesh.test/mcp/demo")
VERSION = "1.15.3"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
ARCHIVE = f"spire-{VERSION}-linux-{ARCH}-musl.tar.gz"
CHECKSUM = f"spire-{VERSION}-linux-{ARCH}-musl_sha256sum.txt"

needs_spire = pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)
needs_release = pytest.mark.skipif(not ARCH, reason="SPIRE releases no binaries for this machine")


def svids(address: str) -> list[str]:
    with WorkloadApiClient(address, default_timeout=10) as client:
        return sorted(str(svid.spiffe_id) for svid in client.fetch_x509_svids())


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose SPIRE is stopped at the end, whatever the test came to."""
    directory = tmp_path / "s"
    yield directory
    spire.run("down", "--dir", str(directory), check=False)


@needs_spire
def test_a_running_spire_issues_both_default_identities_to_the_current_user(tmp_path: Path) -> None:
    with spire.running_spire(tmp_path) as address:
        assert svids(address) == ["spiffe://mesh.test/ai-agent", "spiffe://mesh.test/mcp/demo"]


@needs_spire
def test_trust_domain_and_entries_are_a_choice(tmp_path: Path) -> None:
    entries = [("spiffe://other.test/planner", os.getuid()), ("spiffe://other.test/stranger", 54321)]
    with spire.running_spire(tmp_path, "other.test", entries) as address:
        assert svids(address) == ["spiffe://other.test/planner"]


@needs_spire
async def test_the_mesh_verifies_an_svid_of_spire(tmp_path: Path) -> None:
    def now() -> datetime:
        return datetime.now(UTC)  # noqa: TID251  a test is a composition root

    with spire.running_spire(tmp_path) as address:
        source = WorkloadApiSource(address, wanted=ById(TOOL), clock=now, on_event=lambda _: None)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(source.run())
            state = await source.wait_ready()
            watching.cancel()
    assert verify_chain(state.svid.chain_der, state.bundles, now()) == TOOL


@needs_spire
def test_up_is_idempotent_and_adds_entries_to_what_runs(state: Path) -> None:
    first = spire.run("up", "--dir", str(state))
    before = spire.run("status", "--dir", str(state)).stdout
    again = spire.run("up", "--dir", str(state), "--entry", f"spiffe://mesh.test/late={os.getuid()}")
    assert again.stdout == first.stdout == f"unix://{state}/public/agent.sock\n"
    assert spire.run("status", "--dir", str(state)).stdout == before
    assert "spiffe://mesh.test/late" in svids(again.stdout.strip())


@needs_spire
def test_down_stops_both_and_leaves_nothing(state: Path) -> None:
    spire.run("up", "--dir", str(state))
    pids = re.findall(r"pid (\d+)", spire.run("status", "--dir", str(state)).stdout)
    assert len(pids) == 2
    spire.run("down", "--dir", str(state))
    assert not state.exists()
    assert [state_of(pid) for pid in pids if state_of(pid) not in {"gone", "Z"}] == []
    assert spire.run("status", "--dir", str(state), check=False).returncode == 3


def state_of(pid: str) -> str:
    """The process state of proc(5); a zombie (Z) has ended, its parent has not looked yet."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


@needs_spire
def test_up_replaces_a_spire_of_which_half_has_died(state: Path) -> None:
    address = spire.run("up", "--dir", str(state)).stdout.strip()
    agent = int((state / "agent" / "pid").read_text())
    os.kill(agent, 9)
    assert spire.run("status", "--dir", str(state), check=False).returncode == 3
    spire.run("up", "--dir", str(state))
    assert len(svids(address)) == 2


@needs_spire
def test_only_the_workload_api_is_open_to_other_users(state: Path) -> None:
    spire.run("up", "--dir", str(state))
    open_to_others = [path.name for path in state.iterdir() if path.is_dir() and path.stat().st_mode & 0o077]
    assert open_to_others == ["public"]
    assert not (state / "agent" / "token").exists()


@needs_spire
def test_one_mesh_agent_may_ask_for_the_svids_of_others_where_only_this_user_can_ask(state: Path) -> None:
    agent = "spiffe://mesh.test/node-agent"
    spire.run("up", "--dir", str(state), "--mesh-agent", agent)
    for socket in (state / "admin" / "admin.sock", state / "broker" / "broker.sock"):
        assert socket.is_socket()
        assert socket.parent.stat().st_mode & 0o077 == 0
    before = spire.run("status", "--dir", str(state)).stdout
    spire.run("up", "--dir", str(state))  # which does not name it again
    assert spire.run("status", "--dir", str(state)).stdout == before
    assert (state / "mesh-agent").read_text() == f"{agent}\n"
    spire.run("up", "--dir", str(state), "--mesh-agent", "spiffe://mesh.test/another")
    assert spire.run("status", "--dir", str(state)).stdout != before


def test_what_never_ran_is_stopped_and_can_be_taken_down(tmp_path: Path) -> None:
    ran = spire.run("status", "--dir", str(tmp_path / "none"), check=False)
    assert (ran.returncode, ran.stdout) == (3, "spire-server: stopped\nspire-agent: stopped\n")
    spire.run("down", "--dir", str(tmp_path / "none"))


def test_a_pid_file_that_names_a_foreign_process_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "trust-domain").write_text("mesh.test\n")
    (tmp_path / "agent" / "pid").write_text(f"{os.getpid()}\n")
    spire.run("down", "--dir", str(tmp_path))
    assert not (tmp_path / "agent").exists()


REFUSED = {
    "a trust domain that is none": ["--trust-domain", "Mesh.test"],
    "an entry of another trust domain": ["--entry", "spiffe://b.test/x=1"],
    "an entry without a user": ["--entry", "spiffe://mesh.test/x"],
    "an entry for a user's name": ["--entry", "spiffe://mesh.test/x=root"],
    "an ID with a selector in it": ["--entry", "spiffe://mesh.test/x -admin=1"],
    "a mesh agent of another trust domain": ["--mesh-agent", "spiffe://b.test/x"],
    "a mesh agent with configuration in it": ["--mesh-agent", 'spiffe://mesh.test/x" ] #'],
    "a directory too long for a socket": ["--dir", "/" + "x" * 90],
    "a directory with other things in it": ["--dir", str(spire.SCRIPT.parent)],
    "an option that is none": ["--force", "yes"],
    "an option without a value": ["--dir"],
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_before_anything_is_started(arguments: list[str]) -> None:
    ran = spire.run("up", *arguments, check=False, SPIRE_BIN_DIR="/nonexistent")
    assert ran.returncode == 1
    assert ran.stderr.startswith("spire: ")
    assert "SPIRE_BIN_DIR" not in ran.stderr
    assert ran.stdout == ""


def test_binaries_that_are_not_where_they_are_said_to_be_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    ran = spire.run("up", "--dir", str(tmp_path / "s"), check=False, SPIRE_BIN_DIR=str(tmp_path))
    assert ran.returncode == 1
    assert f"SPIRE_BIN_DIR={tmp_path} does not hold" in ran.stderr


class Release:
    """A published release whose binaries only say that they ran, in a directory instead of on a server."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "releases" / f"v{VERSION}"
        self.directory.mkdir(parents=True)
        self.cache = tmp_path / "cache"
        self.state = tmp_path / "s"
        (self.directory / ARCHIVE).write_bytes(archive({"spire-server": "exit 7", "spire-agent": "exit 8"}))
        self.publish(hashlib.sha256((self.directory / ARCHIVE).read_bytes()).hexdigest())

    def publish(self, checksum: str, name: str = ARCHIVE) -> None:
        (self.directory / CHECKSUM).write_text(f"{checksum}  {name}\n")

    def up(self) -> tuple[int, str]:
        """`up` on a machine without SPIRE: only the system's own programs are on PATH."""
        ran = spire.run(
            "up",
            "--dir",
            str(self.state),
            check=False,
            PATH="/usr/bin:/bin",
            SPIRE_BIN_DIR="",
            SPIRE_RELEASE_URL=self.directory.parent.as_uri(),
            XDG_CACHE_HOME=str(self.cache),
        )
        return ran.returncode, ran.stderr

    def kept(self) -> list[str]:
        return sorted(str(path.relative_to(self.cache)) for path in self.cache.rglob("*") if path.is_file())


def archive(programs: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, body in programs.items():
            content = f"#!/bin/sh\necho fake {name} >&2\n{body}\n".encode()
            member = tarfile.TarInfo(f"spire-{VERSION}/bin/{name}")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


PROGRAMS = [f"spiffe-mcp/spire-{VERSION}/bin/spire-agent", f"spiffe-mcp/spire-{VERSION}/bin/spire-server"]


@needs_release
def test_a_release_with_the_published_checksum_is_kept_and_used(release: Release) -> None:
    code, said = release.up()
    assert "fake spire-server" in said
    assert code == 1
    assert release.kept() == PROGRAMS


@needs_release
def test_a_release_that_is_kept_is_not_fetched_again(release: Release) -> None:
    release.up()
    (release.directory / ARCHIVE).unlink()
    _, said = release.up()
    assert "downloading" not in said
    assert "fake spire-server" in said


@needs_release
@pytest.mark.parametrize("checksum", ["0" * 64, "", "of another file"])
def test_a_release_without_the_published_checksum_is_refused_and_leaves_nothing(
    release: Release, checksum: str
) -> None:
    if checksum == "of another file":
        release.publish(
            hashlib.sha256((release.directory / ARCHIVE).read_bytes()).hexdigest(), "other.tar.gz"
        )
    else:
        release.publish(checksum)
    code, said = release.up()
    assert code == 1
    assert "checksum" in said
    assert "fake spire-server" not in said
    assert list((release.cache / "spiffe-mcp").iterdir()) == []
    assert not release.state.exists()


@needs_release
@pytest.mark.parametrize("missing", [ARCHIVE, CHECKSUM])
def test_a_release_that_cannot_be_fetched_leaves_nothing(release: Release, missing: str) -> None:
    (release.directory / missing).unlink()
    code, said = release.up()
    assert code == 1
    assert "cannot download" in said
    assert list((release.cache / "spiffe-mcp").iterdir()) == []


@needs_release
def test_an_archive_without_the_binaries_leaves_nothing(release: Release) -> None:
    (release.directory / ARCHIVE).write_bytes(archive({"spire-server": "exit 7"}))
    release.publish(hashlib.sha256((release.directory / ARCHIVE).read_bytes()).hexdigest())
    code, _ = release.up()
    assert code != 0
    assert list((release.cache / "spiffe-mcp").iterdir()) == []
