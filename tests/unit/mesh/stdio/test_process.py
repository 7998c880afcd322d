"""A process gets nothing that it was not given, and ends, with all that it started, when it is to."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio import process as module
from spiffe_mcp.mesh.stdio.process import Process
from spiffe_mcp.mesh.stdio.program import Program
from tests.unit.mesh.stdio.bridged import encoded, modern, program, running, soon, until

OWN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "API_TOKEN": "of the agent"}


class Talk:
    """A process and what it says."""

    def __init__(self) -> None:
        self.process: Process
        self.lines: list[bytes] = []

    async def ask(self, text: str) -> str:
        count = len(self.lines)
        self.process.write(encoded(modern(text)))
        await until(lambda: len(self.lines) > count)
        said: str = json.loads(self.lines[-1])["result"]["content"][0]["text"]
        return said

    async def pid(self) -> int:
        return int(await self.ask("pid"))


@asynccontextmanager
async def talk(started: Program) -> AsyncIterator[Talk]:
    talking = Talk()
    talking.process = await Process.start("desk", started, OWN, talking.lines.append)
    ran = soon(talking.process.run())
    try:
        yield talking
    finally:
        talking.process.end()
        await ran


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def written_until_refused(process: Process) -> Reason:
    try:
        for _ in range(100):
            process.write(b"x" * 10_000)
    except Refused as refused:
        return refused.reason
    pytest.fail("it was never refused")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "LAST_WORDS", 0.05)


async def test_it_sees_no_variable_that_was_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOTHER_TOKEN", "of the agent's process")
    async with talk(program(env=(("GIVEN", "chosen"),))) as talking:
        environment: dict[str, Any] = json.loads(await talking.ask("env"))
    environment.pop("LC_CTYPE", None)  # Python's own, of the server (PEP 538)
    assert environment == {"PATH": OWN["PATH"], "HOME": OWN["HOME"], "GIVEN": "chosen"}


@pytest.mark.parametrize("inheritable", [True, False])
async def test_it_has_three_descriptors_whatever_the_agent_has(inheritable: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.set_inheritable(theirs.fileno(), inheritable)
        async with talk(program()) as talking:
            opened = {int(Path(fd).name) for fd in json.loads(await talking.ask("fds"))}
    assert opened - {0, 1, 2} <= {3}, "besides them the folder that it reads"


async def test_it_is_alone_in_its_session_and_its_folder(tmp_path: Path) -> None:
    async with talk(program(cwd=tmp_path)) as talking:
        pid = await talking.pid()
        assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)
        assert await talking.ask("cwd") == str(tmp_path)
        assert "NoNewPrivs:\t1" in status_of(pid)


async def test_what_it_has_started_ends_with_it(impatient: None) -> None:
    async with talk(program()) as talking:
        pids = [await talking.pid(), int(await talking.ask("descendant"))]
        assert all(map(running, pids))
    await until(lambda: not any(map(running, pids)))  # the kernel takes a moment for who is no child of ours


async def test_one_that_listens_to_nothing_is_killed(impatient: None) -> None:
    async with talk(program()) as talking:
        pid = await talking.pid()
        await talking.ask("deaf")
    assert not running(pid)


async def test_the_end_of_itself_is_a_failure_and_said(caplog: pytest.LogCaptureFixture) -> None:
    async with talk(program()) as talking:
        pid = await talking.pid()
        os.kill(pid, 9)
        await until(lambda: not talking.process.wanted)
        with pytest.raises(Refused, match=r"stdio\.ended"):
            talking.process.write(b"{}")
    assert "ended, SIGKILL" in caplog.text


async def test_one_that_reads_nothing_is_ended(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT", 100_000)
    never = Program((sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"))
    async with talk(never) as talking:
        assert written_until_refused(talking.process) is Reason.STDIO_STUCK
        assert talking.process.failed


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"stdio\.not_started.*No such file"):
        await Process.start("desk", program(cwd=tmp_path / "none"), OWN, lambda _: None)


async def test_what_it_complains_of_is_in_the_log_without_what_it_was_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with talk(program(env=(("KEY", "hunter22"),))) as talking:
        await talking.ask("complain \x1b[31m hunter22")
        await until(lambda: "[hidden]" in caplog.text)
    assert "\\x1b[31m [hidden]" in caplog.text
    assert "hunter22" not in caplog.text


async def test_start_that_is_cut_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    async def cut(self: Process) -> None:
        started.append(self._popen.pid)
        raise asyncio.CancelledError

    monkeypatch.setattr(Process, "_connect", cut)
    with pytest.raises(asyncio.CancelledError):
        await Process.start("desk", program(), OWN, lambda _: None)
    assert not running(started[0])
