"""SPIFFE as go-spiffe implements it: the Go program of `tests/interop/go_spiffe`, built and run.

    async with go_spiffe.role("serve", socket=..., id=..., peer=...) as server:
        address = (await server.event("listening"))["address"]
        ...
        rest = await server.rest()      # whatever else it says until it ends

Nothing here knows what the tests expect; it waits for events and never for a time.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

Event: TypeAlias = dict[str, Any]

MODULE: Final = Path(__file__).parents[1] / "interop" / "go_spiffe"
BUILD_SECONDS: Final = 600  # for a build without a cache: go-spiffe brings gRPC along

_PATIENCE: Final = 30.0  # seconds for one event; the program itself gives up sooner
_LONGEST_LINE: Final = 4 * 1024 * 1024
# The toolchain that is installed, and the dependencies that go.sum names: a build never fetches others.
_ENVIRONMENT: Final = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}


def missing() -> str | None:
    """Why the program cannot be built on this machine, if it cannot."""
    wanted = _wanted_version()
    if shutil.which("go") is None:
        return f"go is not on PATH; go-spiffe needs Go {_dotted(wanted)}"
    found = _version(_go("env", "GOVERSION").stdout)
    if found < wanted:
        return f"Go {_dotted(found)} is installed; go-spiffe needs Go {_dotted(wanted)}"
    fetched = _go("mod", "download", check=False)
    # What is not what go.sum says must never be taken for a machine without a network.
    if fetched.returncode != 0 and "SECURITY ERROR" not in fetched.stderr:
        return f"the modules of go-spiffe are not here: {fetched.stderr.strip()[-200:]}"
    return None


@dataclass(frozen=True)
class GoSpiffe:
    """The program, built."""

    binary: Path

    @classmethod
    def build(cls, folder: Path) -> "GoSpiffe":
        """Build it into `folder`."""
        binary = folder / "interop"
        _go("build", "-o", str(binary), ".")
        return cls(binary)

    @contextlib.asynccontextmanager
    async def role(self, name: str, **flags: str) -> AsyncIterator["Program"]:
        """The program in one of its roles; it is gone when the block ends, however that ends."""
        arguments = [part for flag, value in flags.items() for part in (f"-{flag}", value)]
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        with theirs:
            # Not the loop's own way to start a process: uvloop forks, and a child forked from a process in
            # which gRPC has threads may crash before it becomes the program. `Popen` uses vfork.
            end = theirs.fileno()
            process = subprocess.Popen(  # noqa: ASYNC220  see above; it takes a millisecond
                [str(self.binary), name, *arguments], stdin=end, stdout=end
            )
        with process:
            try:
                yield Program(reader, writer)
            finally:
                process.kill()
                writer.close()

    async def said(self, name: str, **flags: str) -> list[Event]:
        """Everything that a role says which ends by itself."""
        async with self.role(name, **flags) as program:
            return await program.until_it_ends()


class Program:
    """A run of the program, and what it says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def event(self, *names: str) -> Event:
        """The next event, which has to be one of `names`."""
        event = await self._next()
        assert event is not None, f"the program ended before any of {names}"
        assert event["event"] in names, event
        return event

    async def next_of(self, name: str) -> Event:
        """The next event called `name`, whatever else comes before it."""
        while event := await self._next():
            if event["event"] == name:
                return event
        raise AssertionError(f"the program ended before {name}")

    async def until_it_ends(self) -> list[Event]:
        """What it says until it ends by itself."""
        events = []
        while event := await self._next():
            events.append(event)
        return events

    async def rest(self) -> list[Event]:
        """Ask it to end; what it has still to say."""
        self._writer.write_eof()
        return await self.until_it_ends()

    async def _next(self) -> Event | None:
        async with asyncio.timeout(_PATIENCE):
            line = await self._reader.readline()
        return json.loads(line) if line else None


def complaints() -> str:
    """What gofmt and go vet have to say of the program."""
    unformatted = subprocess.run(["gofmt", "-l", MODULE], capture_output=True, text=True, check=True).stdout
    return unformatted + _go("vet", "./...", check=False).stderr


def _go(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        ["go", *arguments],
        cwd=MODULE,
        env=os.environ | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if check and ran.returncode != 0:
        raise AssertionError(f"go {arguments[0]}: {ran.returncode}\n{ran.stderr}")
    return ran


def _wanted_version() -> tuple[int, ...]:
    directive = re.search(r"^go (\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert directive is not None
    return _version(directive[1])


def _version(text: str) -> tuple[int, ...]:
    """The numbers of `go1.26.8`, or of a release candidate those of its release."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in found.groups()) if found else (0,)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
