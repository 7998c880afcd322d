"""Whether one of the files has changed that an agent was configured by.

Looked at again and again, by name. So it does not matter how a file is replaced (in place, by a rename, or by
the symbolic link of a Kubernetes ConfigMap or a Secret that is turned to another folder), nor on which file
system it is. A file that is being written is left to be finished: a change counts once two looks agree.
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


async def changes(files: Callable[[], Iterable[Path]], interval: float = INTERVAL) -> AsyncIterator[None]:
    """One turn for each time that `files`, asked for anew at each look, have changed and then stayed so."""
    known = before = look(files())
    while True:
        await asyncio.sleep(interval)
        now = look(files())
        if now == before and now != known:
            yield
            # What changed while it was being read has changed once more; what is new here has not changed.
            known = {file: now.get(file, seen) for file, seen in look(files()).items()}
        before = now
