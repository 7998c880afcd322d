"""Comparisons by order (`<`, `<=`, `>`, `>=`), kept from comparing values of different types.

The embedded engine orders such values by their JSON form: `"999" <= 100` is true, `null >= 18` is true. A
caller chooses the types of its arguments, so a limit written in Rego would be none. Hence:

 1. At compile time each side of such a comparison has to be a path below `input`, a literal, a path of the
    data, or a call whose type is known. Anything else, a variable for one, is refused with its line.
 2. At each question the values at those paths have to have the type of the other side. One that has not
    refuses the question (`POLICY_INPUT_TYPE`); an absent one is undefined in Rego, and stays so.

Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.source import Module
from spiffe_mcp.policy.tokens import Token, invalid, words
from spiffe_mcp.strict_json import JsonObject, JsonValue


class Kind(Enum):
    """The types that have an order here."""

    NUMBER = "number"
    TEXT = "text"


Path: TypeAlias = tuple[str, ...]
_Side: TypeAlias = Path | Kind

_ORDERS: Final = frozenset({"<", "<=", ">", ">="})
# A side of a comparison ends where none of these continues it: `input.a * 2 < 5`, `1 < input.a[0]`.
_CONTINUATIONS: Final = frozenset("+-*/%&|.[(")
_NUMBER_CALLS: Final = words("ceil count floor indexof product round semver.compare sum")
_TEXT_CALLS: Final = words("concat format_int lower sprintf substring upper")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paths below `input` whose values are ordered against each other, or against values of `kind`."""

    paths: tuple[Path, ...]
    kind: Kind | None

    def check(self, document: JsonObject) -> None:
        """Return if the values may be ordered; raises `Refused(POLICY_INPUT_TYPE)`, naming the path."""
        wanted = self.kind
        for path in self.paths:
            is_there, value = _at(path, document)
            if not is_there:
                continue
            found = _kind_of(value)
            if found is None or (wanted is not None and found is not wanted):
                raise Refused(Reason.POLICY_INPUT_TYPE, f"input.{'.'.join(path)}")
            wanted = found


def comparisons_in(module: Module, data: JsonObject) -> Iterator[Comparison]:
    """Every comparison by order in `module`; raises `Refused(POLICY_INVALID)` with file and line."""
    tokens = module.tokens
    for place, token in enumerate(tokens):
        if token.kind != "mark" or token.text not in _ORDERS:
            continue
        sides = _side(_left_of(tokens, place), data), _side(_right_of(tokens, place), data)
        kinds = {side for side in sides if isinstance(side, Kind)}
        if None in sides or len(kinds) > 1:
            raise invalid(
                module.name, token.line, "order compares paths of input, literals, count(...), of one type"
            )
        paths = tuple(side for side in sides if isinstance(side, tuple))
        yield Comparison(paths, next(iter(kinds), None))


def _left_of(tokens: tuple[Token, ...], place: int) -> tuple[Token, ...]:
    """The tokens of the side before `place`; none if they cannot be told."""
    start = place - 1
    if start >= 0 and tokens[start].text == ")":
        start = _opening(tokens, start) - 1
    if start < 0 or (start > 0 and _continues(tokens[start - 1])):
        return ()
    return tokens[start:place]


def _right_of(tokens: tuple[Token, ...], place: int) -> tuple[Token, ...]:
    """The tokens of the side after `place`; none if they cannot be told."""
    start = end = place + 1
    if end + 1 < len(tokens) and tokens[end].kind == "name" and tokens[end + 1].text == "(":
        end = _closing(tokens, end + 1)
    if end >= len(tokens) or (end + 1 < len(tokens) and _continues(tokens[end + 1])):
        return ()
    return tokens[start : end + 1]


def _continues(token: Token) -> bool:
    return token.kind == "mark" and token.text in _CONTINUATIONS and not token.is_first


def _opening(tokens: tuple[Token, ...], place: int) -> int:
    depth = 0
    for start in range(place, -1, -1):
        depth += (tokens[start].text == ")") - (tokens[start].text == "(")
        if depth == 0:
            return start
    return 0


def _closing(tokens: tuple[Token, ...], place: int) -> int:
    depth = 0
    for end in range(place, len(tokens)):
        depth += (tokens[end].text == "(") - (tokens[end].text == ")")
        if depth == 0:
            return end
    return len(tokens)


def _side(tokens: tuple[Token, ...], data: JsonObject) -> _Side | None:
    """What one side is: a path below `input`, or a known kind; `None` if neither."""
    if not tokens:
        return None
    first = tokens[0]
    if first.kind != "name":
        return {"number": Kind.NUMBER, "text": Kind.TEXT, "raw": Kind.TEXT}.get(first.kind)
    if len(tokens) > 1:
        is_number, is_text = first.text in _NUMBER_CALLS, first.text in _TEXT_CALLS
        return Kind.NUMBER if is_number else Kind.TEXT if is_text else None
    root, *path = first.text.split(".")
    if root == "input" and path:
        return tuple(path)
    is_there, value = _at(tuple(path), data) if root == "data" else (False, None)
    return _kind_of(value) if is_there else None


def _at(path: Path, document: JsonObject) -> tuple[bool, JsonValue]:
    value: JsonValue = document
    for member in path:
        if not isinstance(value, dict) or member not in value:
            return False, None
        value = value[member]
    return True, value


def _kind_of(value: JsonValue) -> Kind | None:
    if isinstance(value, str):
        return Kind.TEXT
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Kind.NUMBER if is_number else None
