"""CPU time and memory of processes, with all that they have started: proc(5) in, numbers out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
# Places after the command's name in /proc/PID/stat (proc(5) counts them from 1, and the name is the second).
_PARENT, _USER, _SYSTEM = 1, 11, 12
_MEBI: Final = 1024.0  # of the KiB that smaps_rollup counts in


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process and all that it has started, in MiB."""

    rss: float
    pss: float  # shared pages are divided among those who share them


def cpu_seconds(root: int) -> float:
    """CPU time that `root` and its descendants have used, in user and system mode."""
    return sum(_cpu(stat_fields(_read(pid, "stat"))) for pid in family(root))


def memory(root: int) -> Memory:
    """What `root` and its descendants hold now."""
    rollups = [rollup(_read(pid, "smaps_rollup")) for pid in family(root)]
    return Memory(
        rss=sum(each.get("Rss", 0) for each in rollups) / _MEBI,
        pss=sum(each.get("Pss", 0) for each in rollups) / _MEBI,
    )


def family(root: int) -> list[int]:
    """`root` and its descendants, as they are now."""
    parents = {pid: int(stat_fields(stat)[_PARENT]) for pid, stat in _all_stats()}
    members, pending = [], [root]
    while pending:
        members.append(pending.pop())
        pending.extend(pid for pid, parent in parents.items() if parent == members[-1])
    return members


def stat_fields(stat: str) -> list[str]:
    """The fields of /proc/PID/stat that follow the name, which may hold anything, closing brackets too."""
    return stat.rpartition(")")[2].split()


def rollup(smaps: str) -> dict[str, int]:
    """The counts of /proc/PID/smaps_rollup, in KiB."""
    fields = (line.split() for line in smaps.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in fields}


def _cpu(fields: list[str]) -> float:
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS if fields else 0.0


def _all_stats() -> Iterator[tuple[int, str]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _read(int(entry.name), "stat")):
            yield int(entry.name), stat


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
