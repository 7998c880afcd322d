"""How the files look that an agent was configured by, to see whether one has changed.

Looked at again and again, by name. So it does not matter how a file is replaced (in place, by a rename, or by
the symbolic link of a Kubernetes ConfigMap or a Secret that is turned to another folder), nor on which file
system it is. A file that is being written is left to be finished: only what two looks agree on counts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

INTERVAL: Final = 1.0  # seconds between two looks

# Of each file: which one it is, and what it was when it was written last. None: there is none.
Look: TypeAlias = dict[Path, tuple[int, int, int, int] | None]


def look(files: Iterable[Path]) -> Look:
    """The files as they are now."""
    return {file: _seen(file) for file in files}


def _seen(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:  # gone, or out of reach: a change like any other, and whoever reads it says what is wrong
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


async def settled(files: Callable[[], Iterable[Path]], interval: float = INTERVAL) -> AsyncIterator[Look]:
    """Each look that agrees with the one before, at `files`, which are asked for anew each time."""
    before = look(files())
    while True:
        await asyncio.sleep(interval)
        now = look(files())
        if now == before:
            yield now
        before = now
