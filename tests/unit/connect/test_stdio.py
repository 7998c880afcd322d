"""Lines go in and out over whatever a process's standard input and output are."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from spiffe_mcp.connect.stdio import serving_stdio


@pytest.fixture(name="files")
def _files() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pipe(files: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    read, write = os.pipe()
    return files.enter_context(os.fdopen(read, "rb")), files.enter_context(
        os.fdopen(write, "wb", buffering=0)
    )


async def test_lines_come_from_a_pipe_and_go_to_a_pipe(files: ExitStack) -> None:
    (source, client_out), (client_in, sink) = pipe(files), pipe(files)
    client_out.write(b'{"one":\r\n1}\n')
    client_out.close()
    async with serving_stdio(source, sink) as stdio:
        assert [line async for line in stdio.lines()] == [b'{"one":', b"1}"]
        await stdio.write(b'{"two":\n2}')
    assert client_in.readline() == b'{"two": 2}\n'
    assert client_in.read() == b""


async def test_files_are_read_and_written_as_they_are(files: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"one\ntwo\n")
    source = files.enter_context((tmp_path / "in").open("rb"))
    sink = files.enter_context((tmp_path / "out").open("wb"))
    async with serving_stdio(source, sink) as stdio:
        assert [line async for line in stdio.lines()] == [b"one", b"two"]
        await stdio.write(b"three")
    assert (tmp_path / "out").read_bytes() == b"three\n"


async def test_a_client_that_reads_nothing_holds_its_answers_up(files: ExitStack) -> None:
    (source, _), (client_in, sink) = pipe(files), pipe(files)
    message = b"x" * 1024 * 1024
    async with serving_stdio(source, sink) as stdio:
        writing = asyncio.get_running_loop().create_task(stdio.write(message))
        done, _ = await asyncio.wait({writing}, timeout=0.01)
        assert not done
        assert await asyncio.to_thread(client_in.readline) == message + b"\n"
        await writing


async def test_a_client_that_has_gone_says_nothing_more(files: ExitStack) -> None:
    (source, client_out), (client_in, sink) = pipe(files), pipe(files)
    client_in.close()
    async with serving_stdio(source, sink) as stdio:
        client_out.write(b"one\n")
        lines = stdio.lines()
        assert await anext(lines) == b"one"
        await stdio.write(b"x" * 1024 * 1024)
        await stdio.write(b"more")
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_what_nobody_reads_is_given_up_at_the_end(
    files: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spiffe_mcp.connect.stdio.PARTING", 0.01)
    (source, _), (_, sink) = pipe(files), pipe(files)
    async with serving_stdio(source, sink) as stdio:
        writing = asyncio.get_running_loop().create_task(stdio.write(b"x" * 1024 * 1024))
        await asyncio.wait({writing}, timeout=0.01)
    await writing
