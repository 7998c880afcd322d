"""What a manifest says: the tools of one MCP server, as values that cannot be invalid.

Enters: values read from a statement or given by a publisher. Leaves: `Manifest`, `SignedTool`, `RiskLevel`.
Constructors hold the rules that make the parts fit together, so that signing and loading share them. That a
manifest was signed, by whom and whether that counts is `verify`'s question.

Definitions are read-only by type, not by force: whoever needs a changed one makes a copy.

Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest.canonical import MAX_INTEGER, digest
from spiffe_mcp.manifest.definition import check_definition
from spiffe_mcp.manifest.schema import InputSchema
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TOOLS: Final = 512


class RiskLevel(Enum):
    """How much harm a call can do, by its publisher's word. Local policy may raise it, never lower it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def exceeds(self, other: "RiskLevel") -> bool:
        """Whether this level is above `other`; by rank, not by the alphabet."""
        ranks = tuple(RiskLevel)
        return ranks.index(self) > ranks.index(other)


@dataclass(frozen=True, slots=True)
class SignedTool:
    """One tool: the definition that callers are shown, and what its publisher says of it.

    Raises `Refused` for a definition that may not be signed, with the rule's own reason.
    """

    definition: Mapping[str, JsonValue]
    risk_level: RiskLevel
    requires_approval: bool
    volatile_meta: frozenset[str] = frozenset()  # members of `_meta` that may differ live
    name: str = field(init=False)
    digest: str = field(init=False)  # "sha256:<hex>" of the definition's canonical form
    _input_schema: InputSchema = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        definition = dict(self.definition)
        path = f"tool {ascii(definition.get('name'))[:130]}"
        check_definition(definition, path)
        object.__setattr__(self, "name", definition["name"])
        object.__setattr__(self, "digest", digest(definition))
        object.__setattr__(self, "_input_schema", InputSchema.compile(definition["inputSchema"], path))

    def validate_arguments(self, arguments: JsonObject) -> None:
        """Return if the signed schema admits `arguments`; raises `Refused(MANIFEST_ARGUMENTS_INVALID)`."""
        self._input_schema.validate(arguments)


@dataclass(frozen=True, slots=True)
class Previous:
    """The manifest that this one replaces."""

    serial: int
    sha256: str  # bare hex, over the payload bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """All the tools of one server, at one serial. Times are aware, UTC, whole seconds."""

    server: SpiffeId
    name: str
    version: str
    instructions: str | None
    serial: int
    issued_at: datetime
    expires_at: datetime
    previous: Previous | None
    tools: Mapping[str, SignedTool]  # by name, in the order of names

    def __post_init__(self) -> None:
        if not 1 <= self.serial <= MAX_INTEGER:
            raise Refused(Reason.MANIFEST_SERIAL, f"not 1 to {MAX_INTEGER}")
        if self.previous is not None and not 1 <= self.previous.serial < self.serial:
            raise Refused(Reason.MANIFEST_PREVIOUS, "its serial is not below this one")
        if self.expires_at <= self.issued_at:
            raise Refused(Reason.MANIFEST_TIME_ORDER, "expires before it was issued")
        # None at all is refused as well: trust is decided tool by tool, and no tool would need no trust.
        if not 1 <= len(self.tools) <= MAX_TOOLS:
            raise Refused(Reason.MANIFEST_TOOL_COUNT, f"{len(self.tools)} tools, not 1 to {MAX_TOOLS}")
        if any(earlier >= later for earlier, later in pairwise(self.tools)):
            raise Refused(Reason.MANIFEST_TOOL_ORDER, "not in the order of their names")
        _refuse_twins(self.tools)
        object.__setattr__(self, "tools", MappingProxyType(dict(self.tools)))


def toolset_digest(instructions: str | None, tools: Mapping[str, SignedTool]) -> str:
    """Bare hex: SHA-256 over the canonical form of everything a model is shown; the statement's subject."""
    shown: JsonObject = {"tools": [[tool.name, tool.digest] for tool in tools.values()]}
    if instructions is not None:
        shown["instructions"] = instructions
    return digest(shown).removeprefix("sha256:")


def _refuse_twins(names: Mapping[str, SignedTool]) -> None:
    """Refuse names that a reader takes for one another: they differ in case or separators only."""
    seen: dict[str, str] = {}
    for name in names:
        folded = name.lower().translate(_SEPARATORS)
        if folded in seen:
            raise Refused(Reason.MANIFEST_TOOL_TWIN, f"{seen[folded]} and {name}")
        seen[folded] = name


_SEPARATORS: Final = str.maketrans("", "", "_-.")
