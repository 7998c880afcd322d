"""Every way in which a socket is not there for us, on real sockets, and what to do about each."""

import os
import socket as sockets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.socket import look_at

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as path:
        yield Path(path)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


@contextmanager
def as_nobody() -> Iterator[None]:
    """Another user, for the kernel's checks of this thread's own calls."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def bad(found: Finding, *words: str) -> None:
    assert found.check is Check.SOCKET
    assert found.severity is Severity.ERROR
    assert found.advice
    for word in words:
        assert word in f"{found.message} {found.advice}"


def test_one_that_is_served(folder: Path) -> None:
    path = folder / "agent.sock"
    with listening(path):
        found = look_at(f"unix://{path}")
    assert (found.check, found.severity) == (Check.SOCKET, Severity.OK)
    assert str(path) in found.message


def test_one_that_is_missing(folder: Path) -> None:
    bad(look_at(f"unix://{folder}/agent.sock"), "does not exist", "Start the SPIFFE agent")


def test_one_whose_folder_is_missing_says_which_folder_there_is(folder: Path) -> None:
    bad(look_at(f"unix://{folder}/run/spire/agent.sock"), f"only {folder} exists", "mounted")


def test_one_below_a_file(folder: Path) -> None:
    (folder / "file").touch()
    bad(look_at(f"unix://{folder}/file/agent.sock"), "Not a directory")


def test_a_stale_one(folder: Path) -> None:
    path = folder / "agent.sock"
    with listening(path):
        pass
    bad(look_at(f"unix://{path}"), "stale", "nobody serves", "Start the SPIFFE agent again")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_something_else_in_its_place(folder: Path, make: object) -> None:
    path = folder / "agent.sock"
    assert callable(make)
    make(path)
    bad(look_at(f"unix://{path}"), "no socket")


def test_one_that_we_may_not_write_to(folder: Path) -> None:
    path = folder / "agent.sock"
    with listening(path):
        folder.chmod(0o755)
        path.chmod(0o600)
        with as_nobody():
            found = look_at(f"unix://{path}")
    bad(found, f"Uid {NOBODY} may not connect", "run as a user that may")


def test_one_in_a_folder_that_we_may_not_enter(folder: Path) -> None:
    path = folder / "agent.sock"
    with listening(path):
        folder.chmod(0o700)
        with as_nobody():
            found = look_at(f"unix://{path}")
    bad(found, f"Uid {NOBODY} may not connect", "enter each folder")


@pytest.mark.parametrize(
    "address", ["", "/run/agent.sock", "unix:agent.sock", "tcp://127.0.0.1:1", "unix://"]
)
def test_an_address_that_is_none(address: str) -> None:
    bad(look_at(address), "is not unix:///path", "unix:///run/spire/agent.sock")
