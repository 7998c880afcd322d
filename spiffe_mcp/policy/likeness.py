"""Questions that a policy cannot tell apart, although a text in them differs.

A rule about arguments mostly asks whether a text contains, begins with or ends with another one that stands
in the policy: `contains(input.arguments.text, "drop table")`. If a policy does nothing else with a path, it
knows no more of the text there than the answers, and two texts with the same answers are one to it. So they
have one decision (`memory`), however different they are.

Enters: what the modules say, and what a policy can see of a question. Leaves: the same with every such text
replaced by its answers. What is not clearly such a text stays as it is, and so do all others:

 1. each time that the path, one before it or one below it is named, it is the first argument of one of three
    functions, and the second is a literal of plain characters; a name that a policy gives to a rule is none
    of the three;
 2. the text is plain too: the engine holds it as Python does, and would not refuse it (`conversion`).

Pure.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from spiffe_mcp.policy.conversion import MAX_TEXT_BYTES
from spiffe_mcp.policy.source import Module, reads_in
from spiffe_mcp.policy.tokens import Token
from spiffe_mcp.strict_json import JsonObject

Path = tuple[str, ...]

_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "contains": str.__contains__,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
# Printable ASCII without quote and backslash: the same octets in JSON, in the engine and here.
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")
_CALL: Final = ("name", "mark", "name", "mark", "text", "mark")


@dataclass(frozen=True, slots=True)
class Test:
    """One of the three functions and its literal."""

    function: str
    literal: str

    def of(self, text: str) -> bool:
        """What the function answers for `text`."""
        return _TESTS[self.function](text, self.literal)


@dataclass(frozen=True, slots=True)
class Likeness:
    """By path below `input`, all that a policy asks of a text there."""

    tests: tuple[tuple[Path, tuple[Test, ...]], ...]

    @classmethod
    def among(cls, modules: Iterable[Module]) -> Self:
        """What the `modules` of one policy, all of them, cannot tell apart."""
        modules = tuple(modules)
        if any(not module.heads.isdisjoint(_TESTS) for module in modules):
            return cls(())
        asked: dict[Path, list[Test]] = defaultdict(list)
        named = [path for module in modules for path in reads_in(module.tokens)]
        for module in modules:
            for path, test in _asked(module.tokens):
                asked[path].append(test)
        return cls(
            tuple(
                (path, tuple(dict.fromkeys(tests)))
                for path, tests in asked.items()
                if sum(_overlap(path, other) for other in named) == len(tests)
            )
        )

    def of(self, visible: JsonObject) -> dict[str, Any]:
        """`visible`, with tuples in place of such texts: JSON has none, so no other value looks like one."""
        alike: dict[str, Any] = visible
        for path, tests in self.tests:
            alike = _replaced(alike, path, tests)
        return alike


def _replaced(branch: dict[str, Any], path: Path, tests: tuple[Test, ...]) -> dict[str, Any]:
    """`branch`, or a copy of it with the answers of `tests` at `path`, if there is a plain text."""
    member, *below = path
    value = branch.get(member)
    if below and isinstance(value, dict):
        return {**branch, member: _replaced(value, tuple(below), tests)}
    if below or not isinstance(value, str) or not _is_plain(value):
        return branch
    return {**branch, member: tuple([test.of(value) for test in tests])}


def _is_plain(text: str) -> bool:
    return len(text) <= MAX_TEXT_BYTES and _PLAIN.fullmatch(text) is not None


def _asked(tokens: tuple[Token, ...]) -> Iterator[tuple[Path, Test]]:
    """Every `function(input.path, "literal")`."""
    for place in range(len(tokens) - len(_CALL) + 1):
        call = tokens[place : place + len(_CALL)]
        function, opening, text, comma, literal, closing = (token.text for token in call)
        if (
            function in _TESTS
            and tuple(token.kind for token in call) == _CALL
            and (opening, comma, closing) == ("(", ",", ")")
            and text.startswith("input.")
            and _PLAIN.fullmatch(literal[1:-1])
        ):
            yield tuple(text.split(".")[1:]), Test(function, literal[1:-1])


def _overlap(path: Path, other: Path) -> bool:
    """Whether one holds the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]
