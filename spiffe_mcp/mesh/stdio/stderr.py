"""What a server says on standard error, as lines of the agent's log: bounded, readable, without its secrets.

It is a stranger's text. Control characters are escaped, so that it cannot move a terminal's cursor or make a
line of its own; a line is cut where it becomes too long; of too many in a short time the rest is counted.
What the configuration gave the process as its environment is not shown. Pure: time is an argument.
"""

from typing import Final

MAX_LINE: Final = 2048  # bytes
LINES: Final = 200  # in one `PERIOD`
PERIOD: Final = 10.0  # seconds

_HIDDEN: Final = "[hidden]"


class StderrLines:
    """`feed` it what arrives; it returns the lines to log."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._partial = bytearray()
        self._left_out = 0  # bytes of the line that has no end yet
        self._since = float("-inf")
        self._lines = 0

    def feed(self, chunk: bytes, now: float) -> list[str]:
        """The lines that `chunk` completes, as far as they may be shown; `now` in seconds of any clock."""
        *ends, rest = chunk.split(b"\n")
        lines: list[str] = []
        for end in ends:
            self._keep(end)
            lines += self._allowed(self._take(), now)
        self._keep(rest)
        return lines

    def finish(self, now: float) -> list[str]:
        """The last line, if it has no end, and how many were not shown."""
        last = self._allowed(self._take(), now) if self._partial else []
        return [*last, *self._count()]

    def _keep(self, piece: bytes) -> None:
        room = MAX_LINE - len(self._partial)
        self._partial += piece[:room]
        self._left_out += max(0, len(piece) - room)

    def _take(self) -> str:
        text = self._partial.decode("utf-8", "replace").removesuffix("\r")
        more = f" ... {self._left_out} bytes more" if self._left_out else ""
        self._partial, self._left_out = bytearray(), 0
        return self._readable(text) + more

    def _readable(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

    def _allowed(self, line: str, now: float) -> list[str]:
        before = []
        if now - self._since >= PERIOD:
            before = self._count()
            self._since, self._lines = now, 0
        self._lines += 1
        return [*before, line] if self._lines <= LINES else before

    def _count(self) -> list[str]:
        hidden, self._lines = self._lines - LINES, 0
        return [f"... {hidden} lines more"] if hidden > 0 else []
