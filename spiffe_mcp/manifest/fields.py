"""Closed JSON objects: every member is asked for by name, and what nobody asked for is refused.

Enters: one JSON object and its path in the document. Leaves: values of the type that was asked for, or a
refusal that names the path. A field that a reader skips is a field that two readers can disagree about, so
there is no "ignore what you do not know" here: new meaning is a new predicate type or policy version.

Pure. It knows JSON types, and of manifests and trust policies only which reasons they refuse with.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject, JsonValue

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}")


def member_path(path: str, key: str) -> str:
    """The JSONPath (RFC 9535) of a member, safe to log: bounded, control characters escaped."""
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{key[:64]!a}]"


def item_path(path: str, index: int) -> str:
    """The JSONPath of an array's item."""
    return f"{path}[{index}]"


@dataclass(frozen=True, slots=True)
class Faults:
    """The reasons that one kind of document refuses with."""

    unknown: Reason
    missing: Reason
    invalid: Reason


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of one closed object. Construct with `Fields.of`."""

    members: JsonObject
    path: str
    faults: Faults

    @classmethod
    def of(
        cls,
        value: JsonValue,
        path: str,
        faults: Faults,
        *,
        required: set[str],
        optional: set[str] | None = None,
    ) -> "Fields":
        """The members of `value`; refuses what is not an object, lacks a member or has one too many."""
        if not isinstance(value, dict):
            raise Refused(faults.invalid, f"{path}: not an object")
        for key in value:
            if key not in required and key not in (optional or ()):
                raise Refused(faults.unknown, member_path(path, key))
        for key in sorted(required):
            if key not in value:
                raise Refused(faults.missing, member_path(path, key))
        return cls(value, path, faults)

    def path_of(self, name: str) -> str:
        """Where `name` stands in the document."""
        return member_path(self.path, name)

    def refused(self, name: str, why: str) -> Refused:
        """The refusal of one member, to be raised by whoever finds its value wrong."""
        return Refused(self.faults.invalid, f"{self.path_of(name)}: {why}")

    def text(self, name: str, *, at_most: int = 256) -> str:
        """A string of 1 to `at_most` characters."""
        value = self.members[name]
        if not isinstance(value, str) or not 1 <= len(value) <= at_most:
            raise self.refused(name, f"not a string of 1 to {at_most} characters")
        return value

    def boolean(self, name: str) -> bool:
        """`true` or `false`, nothing that only counts as one."""
        value = self.members[name]
        if not isinstance(value, bool):
            raise self.refused(name, "neither true nor false")
        return value

    def integer(self, name: str, *, at_least: int, at_most: int) -> int:
        """An integer written as one: not `true`, not `5.0`."""
        value = self.members[name]
        if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
            raise self.refused(name, f"not an integer from {at_least} to {at_most}")
        return value

    def array(self, name: str) -> Iterator[tuple[str, JsonValue]]:
        """The items of an array, each with its path."""
        value = self.members[name]
        if not isinstance(value, list):
            raise self.refused(name, "not an array")
        return ((item_path(self.path_of(name), index), item) for index, item in enumerate(value))

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of distinct, non-empty strings."""
        values = tuple(item for _, item in self.array(name) if isinstance(item, str) and item)
        if len(values) != sum(1 for _ in self.array(name)) or len(set(values)) != len(values):
            raise self.refused(name, "not distinct, non-empty strings")
        return values
