"""The tokens of a Rego module: source text in, names, literals and marks with their lines out.

Whoever reads a policy before the engine does must never see a comment or a text where the engine sees code.
So control characters are refused (a lone carriage return could end a comment for one of the two), and so are
texts that are not closed and `$"..."`, which holds code.

Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.errors import Reason, Refused

_TOKEN: Final = re.compile(
    r"""(?P<comment>\#[^\r\n]*)
      | (?P<text>"(?:\\.|[^"\\\n])*")
      | (?P<raw>`[^`]*`)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
      | (?P<line>\n)
      | (?P<mark>[<>:=!]=|[^\s\w])""",
    re.VERBOSE | re.ASCII,
)
_STRANGE_CHARACTER: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a module; comments are none."""

    kind: str
    text: str
    line: int
    is_first: bool  # of its line, outside all brackets: where a rule's head stands


def invalid(name: str, line: int, what: str) -> Refused:
    """The refusal of a policy, as an editor can jump to it."""
    return Refused(Reason.POLICY_INVALID, f"{name}:{line}: {what}")


def tokens_of(name: str, source: str) -> Iterator[Token]:
    """The tokens of `source`; raises `Refused(POLICY_INVALID)` where the engine might divide otherwise."""
    if strange := _STRANGE_CHARACTER.search(source):
        raise invalid(name, _line_of(source, strange.start()), "a control character")
    line, depth, is_first = 1, 0, True
    for match in _TOKEN.finditer(source):
        kind, text = match.lastgroup or "", match.group()
        if kind == "mark" and text in '"`$':
            raise invalid(name, line, "a text that is not closed, or string interpolation: use sprintf")
        if kind in {"text", "raw", "name", "number", "mark"}:
            yield Token(kind, text, line, is_first and depth == 0)
            is_first = False
        depth += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})
        if newlines := text.count("\n"):
            line, is_first = line + newlines, True


def _line_of(source: str, offset: int) -> int:
    return source.count("\n", 0, offset) + 1


def words(text: str) -> frozenset[str]:
    """A set of names, as they are best read."""
    return frozenset(text.split())
