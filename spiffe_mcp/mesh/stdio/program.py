"""What is started as an MCP server: a command, what it is told, and whom a process is for. Values. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

MOST: Final = 32  # processes of one server, for sessions
# What a program needs to find others, its files and its language. Nothing else of the agent's is passed on.
PASSED: Final = ("PATH", "HOME", "LANG")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Processes(Enum):
    """For whom a process is, in the legacy era. In 2026-07-28 there are no sessions: one serves all."""

    SESSION = "session"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Program:
    """A command and its surroundings; ValueError for what cannot be started at all.

    `env` may hold secrets: it is not shown. `most` is how many processes may run for sessions.
    """

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: Path | None = None
    processes: Processes = Processes.SESSION
    most: int = MOST

    def __post_init__(self) -> None:
        words = (*self.command, *(text for pair in self.env for text in pair))
        if not self.command or not self.command[0] or any("\0" in word for word in words):
            raise ValueError("no command")
        if not all(_NAME.fullmatch(name) for name, _ in self.env):
            raise ValueError("a name that no variable has")

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """All that the process finds in its environment: `PASSED` of the agent's `own`, and `env`."""
        return {name: own[name] for name in PASSED if name in own} | dict(self.env)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is not to be seen in a log, the longest first: the values of `env`, whatever they are."""
        return tuple(sorted({value for _, value in self.env if len(value) >= SHORTEST_SECRET}, key=len))[::-1]


SHORTEST_SECRET: Final = 6  # characters; hiding `1` or `true` would hide what a line says
