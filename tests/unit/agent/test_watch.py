"""A change is seen however a file is replaced, once it is whole."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spiffe_mcp.agent.watch import changes, look


def in_place(file: Path) -> None:
    file.write_text("longer than before")


def same_size_and_renamed(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("AFTER.")
    other.rename(file)


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("change", [in_place, same_size_and_renamed, gone])
def test_a_changed_file_looks_different(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("before")
    assert look([file]) == look([file])
    before = look([file])
    change(file)
    assert look([file]) != before


def test_a_link_that_is_turned_to_another_folder_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes replaces the files of a ConfigMap: all at once, by one rename of a link."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "policy.rego").write_text("same")
        os.utime(tmp_path / folder / "policy.rego", ns=(1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "policy.rego").symlink_to("..data/policy.rego")
    before = look([tmp_path / "policy.rego"])
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert look([tmp_path / "policy.rego"]) != before


def content(file: Path) -> str:
    return file.read_text() if file.exists() else "gone"


async def told(found: AsyncIterator[None]) -> None:
    await anext(found)


class Looks:
    """The looks that the watch takes."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self.taken = 0
        self.event = asyncio.Event()

    def __call__(self) -> tuple[Path, ...]:
        self.taken += 1
        self.event.set()
        return self._files

    async def some(self, count: int) -> None:
        until = self.taken + count
        while self.taken < until:
            self.event.clear()
            await self.event.wait()


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[tuple[Looks, list[str]]]:
    looks, seen = Looks(file), list[str]()

    async def watch() -> None:
        async for _ in changes(looks, interval=0):
            seen.append(content(file))

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await looks.some(2)
        yield looks, seen
        watching.cancel()


async def test_a_change_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("one")
    async with watched(file) as (looks, seen):
        assert seen == []
        file.write_text("two!")
        await looks.some(8)
        assert seen == ["two!"]
        file.unlink()
        await looks.some(8)
        assert seen == ["two!", "gone"]


async def test_a_file_that_is_still_being_written_is_left_to_be_finished(tmp_path: Path) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("")
    async with watched(file) as (looks, seen):
        for size in range(1, 20):
            file.write_text("x" * size)
            await looks.some(1)  # another look, another file
        assert seen == []
        await looks.some(8)
        assert seen == ["x" * 19]


async def test_a_change_during_the_reading_is_another_change(tmp_path: Path) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("one")
    found = changes(lambda: [file], interval=0)
    reading = asyncio.get_running_loop().create_task(told(found))
    await asyncio.sleep(0)
    file.write_text("two!")
    await reading
    file.write_text("three")
    await anext(found)


async def test_files_that_are_named_only_now_are_no_change_by_themselves(tmp_path: Path) -> None:
    files = [tmp_path / "one"]
    found = changes(lambda: files, interval=0)
    reading = asyncio.get_running_loop().create_task(told(found))
    await asyncio.sleep(0)
    files[0].write_text("changed")
    await reading
    files.append(tmp_path / "two")
    files[1].write_text("new")
    again = asyncio.get_running_loop().create_task(told(found))
    for _ in range(8):
        await asyncio.sleep(0)
    assert not again.done()
    files[1].write_text("newer")
    await again
