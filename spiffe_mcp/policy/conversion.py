r"""What of an input document reaches the embedded engine, and in which form.

The engine (rego-cpp 1.5) keeps texts in their JSON form: to it a line feed is the two characters `\n`, so
`count`, `contains` and their like would answer for another text than the caller's. Its integers lose digits
beyond 64 bits, its `round` beyond 2^63, and its values nest on the C stack. What it cannot hold is refused,
never altered. One imprecision stays: floats are compared to 15 significant digits.

Only what the policy reads is converted (`Projection`), so a body with line feeds that no rule looks at is no
reason to refuse.

Pure.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TEXT_BYTES: Final = 65_536
MAX_VALUES: Final = 10_000
MAX_MEMBERS: Final = 1024  # of one array or object: an object comprehension takes the square of it
MAX_DEPTH: Final = 72  # 64 of the caller's JSON, and what the input document adds
MAX_NUMBER: Final = 2**53 - 1  # RFC 7493 section 2.2
MIN_FLOAT: Final = 2.2250738585072014e-308  # smaller ones are not normal, and the engine fails on them

_ESCAPED_IN_JSON: Final = re.compile(r'[\x00-\x1f"\\\ud800-\udfff]')

_LITERALS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}

_Tree: TypeAlias = "dict[str, _Tree]"


@dataclass(frozen=True, slots=True)
class Projection:
    """The part of an input document that a policy can see. An empty branch stands for all below it."""

    tree: _Tree

    @classmethod
    def onto(cls, paths: Iterable[tuple[str, ...]]) -> Self:
        """The projection onto `paths`, of which the empty one is the whole document."""
        root: _Tree = {}
        # Shorter paths first: what a shorter one holds whole, a longer one must not narrow.
        for path in sorted(set(paths), key=len):
            if not path:
                return cls({"": {}})
            _plant(root, path)
        return cls(root)

    @property
    def is_whole(self) -> bool:
        """Whether the policy may look at anything."""
        return "" in self.tree

    @property
    def members(self) -> Collection[str] | None:
        """The members of a document that the policy may look at; None for all."""
        return None if self.is_whole else self.tree.keys()

    def of(self, document: JsonObject) -> JsonObject:
        """The projected document; shares values with `document`."""
        return document if self.is_whole else _pruned(document, self.tree)

    def paths(self) -> tuple[str, ...]:
        """The visible paths, dotted, for people."""
        return ("*",) if self.is_whole else tuple(sorted(_dotted(self.tree, "")))


def _plant(branch: _Tree, path: tuple[str, ...]) -> None:
    for member in path:
        grown = branch.get(member)
        if grown is not None and not grown:
            return
        branch = branch.setdefault(member, {})


def _pruned(document: JsonObject, tree: _Tree) -> JsonObject:
    pruned: JsonObject = {}
    for member, below in tree.items():
        if member in document:
            value = document[member]
            pruned[member] = _pruned(value, below) if below and isinstance(value, dict) else value
    return pruned


def _dotted(tree: _Tree, prefix: str) -> Iterable[str]:
    for member, below in tree.items():
        yield from _dotted(below, f"{prefix}{member}.") if below else (prefix + member,)


def check(document: Mapping[str, JsonValue]) -> bool:
    """Return whether `document` holds a float; raises `Refused(POLICY_INPUT_*)` for what cannot be held.

    Level by level, so that no document exhausts the stack before its depth is known.
    """
    values, has_float = 0, False
    level: list[JsonValue] = [dict(document)]
    for _ in range(MAX_DEPTH):
        values += len(level)
        if values > MAX_VALUES:
            raise Refused(Reason.POLICY_INPUT_SIZE, f"more than {MAX_VALUES} values")
        below: list[JsonValue] = []
        for value in level:
            if isinstance(value, (dict, list)) and len(value) > MAX_MEMBERS:
                raise Refused(Reason.POLICY_INPUT_SIZE, f"more than {MAX_MEMBERS} members")
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, (int, float)):
                has_float |= _check_number(value)
        if not below:
            return has_float
        level = below
    raise Refused(Reason.POLICY_INPUT_SIZE, f"more than {MAX_DEPTH} levels")


def misfit(document: JsonObject) -> str:
    """The first path, of at most two members, whose value `check` refuses; for the operator."""
    for member, value in document.items():
        for name, below in value.items() if isinstance(value, dict) else ():
            if not _fits({name: below}):
                return f"{member}.{name}" if name.isidentifier() else f"{member}[{name[:64]!a}]"
        if not _fits({member: value}):
            return member
    return "the whole"


def _fits(document: JsonObject) -> bool:
    try:
        check(document)
    except Refused:
        return False
    return True


def _check_text(text: str) -> None:
    if _ESCAPED_IN_JSON.search(text):
        raise Refused(Reason.POLICY_INPUT_TEXT, "a quote, a backslash or a control character")
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
        raise Refused(Reason.POLICY_INPUT_SIZE, f"a text of more than {MAX_TEXT_BYTES} bytes")


def _check_number(number: float) -> bool:
    """Whether `number` is a float, once it is known to be one that the engine can hold."""
    # A NaN compares false, and so fails the test: fail closed.
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        raise Refused(Reason.POLICY_INPUT_NUMBER, "beyond 2^53 - 1")
    if 0 < abs(number) < MIN_FLOAT:
        raise Refused(Reason.POLICY_INPUT_NUMBER, "not a normal float")
    return isinstance(number, float)


def term(value: JsonValue) -> str:
    """The Rego term, which is also the JSON, of a value that `check` let pass.

    Floats are written without exponents: the engine's data parser crashes the process on them.
    """
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{" + ",".join(f'"{member}":{term(below)}' for member, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(term, value)) + "]"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value) if type(value) is int else _LITERALS[value]
