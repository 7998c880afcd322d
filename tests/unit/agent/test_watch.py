"""A change is seen however a file is replaced, once it is whole."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spiffe_mcp.agent.watch import Look, look, settled


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


class Looks:
    """The looks that the watch takes, and what it said."""

    def __init__(self, *files: Path) -> None:
        self.files = list(files)
        self.said: list[Look] = []
        self._taken = 0
        self._event = asyncio.Event()

    def __call__(self) -> list[Path]:
        self._taken += 1
        self._event.set()
        return self.files

    async def watch(self) -> None:
        async for seen in settled(self, interval=0):
            self.said.append(seen)

    async def some(self, count: int) -> None:
        until = self._taken + count
        while self._taken < until:
            self._event.clear()
            await self._event.wait()


@asynccontextmanager
async def watched(*files: Path) -> AsyncIterator[Looks]:
    looks = Looks(*files)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(looks.watch())
        await looks.some(2)
        yield looks
        watching.cancel()


async def test_what_stays_is_said_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("one")
    async with watched(file) as looks:
        await looks.some(3)
        assert len(looks.said) > 1
        assert all(seen == look([file]) for seen in looks.said)
        file.unlink()
        await looks.some(3)
        assert looks.said[-1] == {file: None}


async def test_a_file_that_is_still_being_written_is_left_to_be_finished(tmp_path: Path) -> None:
    file = tmp_path / "policy.rego"
    file.write_text("")
    async with watched(file) as looks:
        before = look([file])
        for size in range(1, 20):
            file.write_text("x" * size)
            await looks.some(1)  # another look, another file
        assert all(seen == before for seen in looks.said)
        await looks.some(3)
        assert looks.said[-1] == look([file])


async def test_files_are_asked_for_anew_at_each_look(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    async with watched(one) as looks:
        looks.files.append(two)
        await looks.some(3)
        assert looks.said[-1] == {one: None, two: None}
