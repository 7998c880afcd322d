"""Who may sign what: the local trust policy of an agent.

Enters: JSON that the operator wrote. Leaves: `TrustPolicy`, which answers one question: which rule governs
this tool of this server? Authority comes from here alone; a manifest says nothing about its own signers.

    {"version": 1,
     "keys": {"<name>": "<PEM SubjectPublicKeyInfo>"},
     "rules": [{"server": "spiffe://td/ns/*/sa/weather", "tools": ["*"], "signers": ["<name>"],
                "threshold": 1, "maxRisk": "critical", "maxValidityDays": 120, "minSerial": 1}]}

`server` is a SPIFFE ID or an `IdPattern`; a tool is a name, `prefix*` or `*`. The last four members have the
defaults shown. Of several rules the one that all the others contain governs; where there is no such rule the
policy has two answers, and that is refused. No rule is refused: nobody is trusted by default.

Pure: the file's bytes are an argument.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from types import MappingProxyType
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import IdPattern, SpiffeId
from spiffe_mcp.manifest.canonical import MAX_INTEGER
from spiffe_mcp.manifest.fields import Faults, Fields, member_path
from spiffe_mcp.manifest.keys import PublicKey
from spiffe_mcp.manifest.model import RiskLevel
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads

MAX_POLICY_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 64  # each is tried on each signature
MAX_VALIDITY_DAYS: Final = 3650
DEFAULT_VALIDITY_DAYS: Final = 120

_FAULT: Final = Reason.MANIFEST_TRUST_POLICY
_FAULTS: Final = Faults(unknown=_FAULT, missing=_FAULT, invalid=_FAULT)
_RULE_DEFAULTS: Final[JsonObject] = {
    "threshold": 1,
    "maxRisk": RiskLevel.CRITICAL.value,
    "maxValidityDays": DEFAULT_VALIDITY_DAYS,
    "minSerial": 1,
}
_TOOL_PATTERN: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}|[A-Za-z0-9_.-]{0,127}\*")


@dataclass(frozen=True, slots=True)
class ToolPattern:
    """A tool's name, or with a last `*` every name that begins so."""

    text: str

    def __post_init__(self) -> None:
        if not _TOOL_PATTERN.fullmatch(self.text):
            raise Refused(_FAULT, f"tool pattern {self.text[:80]!a}")

    def matches(self, name: str) -> bool:
        """Whether `name` is one of the names this pattern stands for."""
        prefix = self.text.removesuffix("*")
        return name.startswith(prefix) if prefix != self.text else name == prefix

    def contains(self, other: "ToolPattern") -> bool:
        """Whether every name of `other` is one of this pattern's too."""
        return self == other or (self.text.endswith("*") and self.matches(other.text.removesuffix("*")))


@dataclass(frozen=True, slots=True)
class Scope:
    """Tools of servers: what one rule is about."""

    server: IdPattern
    tool: ToolPattern

    def covers(self, server: SpiffeId, tool: str) -> bool:
        """Whether this tool of this server is in the scope."""
        return self.server.matches(server) and self.tool.matches(tool)

    def contains(self, other: "Scope") -> bool:
        """Whether all of `other` lies inside this scope."""
        return _ids_contain(self.server, other.server) and self.tool.contains(other.tool)


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may sign the tools in `scopes`, and how far that goes."""

    scopes: tuple[Scope, ...]
    signers: frozenset[str]  # names of keys
    threshold: int
    max_risk: RiskLevel
    max_validity: timedelta
    min_serial: int


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Named keys, and the rules that name them. Construct with `TrustPolicy.parse`."""

    keys: Mapping[str, PublicKey]
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, document: bytes) -> Self:
        """Read a policy; raises `Refused`: `JSON_*`, or `MANIFEST_TRUST_POLICY` with the JSON path."""
        value = loads(document, max_bytes=MAX_POLICY_BYTES)
        policy = Fields.of(value, "$", _FAULTS, required={"version", "keys", "rules"})
        policy.integer("version", at_least=1, at_most=1)
        keys = _keys(policy)
        rules = tuple(_rule(item, path, keys) for path, item in policy.array("rules"))
        _refuse_rules_for_the_same(rules)
        return cls(MappingProxyType(keys), rules)

    def rule_for(self, server: SpiffeId, tool: str) -> Rule:
        """The rule that governs `tool`; raises `Refused`: `MANIFEST_NO_RULE`, `MANIFEST_RULE_AMBIGUOUS`."""
        found = [(scope, rule) for rule in self.rules for scope in rule.scopes if scope.covers(server, tool)]
        if not found:
            raise Refused(Reason.MANIFEST_NO_RULE, f"{server}, tool {tool}")  # default deny
        for scope, rule in found:
            if all(other.contains(scope) for other, _ in found):
                return rule
        raise Refused(Reason.MANIFEST_RULE_AMBIGUOUS, f"{server}, tool {tool}: no rule is inside all others")


def _keys(policy: Fields) -> dict[str, PublicKey]:
    listed = policy.members["keys"]
    if not isinstance(listed, dict) or not 1 <= len(listed) <= MAX_KEYS:
        raise policy.refused("keys", f"not an object of 1 to {MAX_KEYS} keys")
    keys: dict[str, PublicKey] = {}
    for name, pem in listed.items():
        path = member_path("$.keys", name)
        key = _key(pem, path)
        # One key under two names would be two signers, and meet a threshold of two alone.
        if key in keys.values():
            raise Refused(_FAULT, f"{path}: the same key as another name")
        keys[name] = key
    return keys


def _key(pem: JsonValue, path: str) -> PublicKey:
    if not isinstance(pem, str):
        raise Refused(_FAULT, f"{path}: not a string")
    try:
        return PublicKey.from_pem(pem.encode())
    except Refused as refusal:
        raise Refused(_FAULT, f"{path}: {refusal.detail}") from None


def _rule(value: JsonValue, path: str, keys: Mapping[str, PublicKey]) -> Rule:
    value = _RULE_DEFAULTS | value if isinstance(value, dict) else value
    record = Fields.of(value, path, _FAULTS, required={"server", "tools", "signers", *_RULE_DEFAULTS})
    signers = record.texts("signers")
    if not signers:
        raise record.refused("signers", "empty: nobody could sign")
    for signer in signers:
        if signer not in keys:
            raise record.refused("signers", f"no key is named {signer[:80]!a}")
    days = record.integer("maxValidityDays", at_least=1, at_most=MAX_VALIDITY_DAYS)
    return Rule(
        scopes=_scopes(record),
        signers=frozenset(signers),
        # A threshold that the signers cannot reach is a mistake.
        threshold=record.integer("threshold", at_least=1, at_most=len(signers)),
        max_risk=_risk(record),
        max_validity=timedelta(days=days),
        min_serial=record.integer("minSerial", at_least=1, at_most=MAX_INTEGER),
    )


def _scopes(record: Fields) -> tuple[Scope, ...]:
    server_text, tool_texts = record.text("server", at_most=2048), record.texts("tools")
    if not tool_texts:
        raise record.refused("tools", "empty: the rule is about nothing")
    try:
        server = IdPattern.parse(server_text)
    except Refused as refusal:
        raise record.refused("server", refusal.detail) from None
    try:
        return tuple(Scope(server, ToolPattern(text)) for text in tool_texts)
    except Refused as refusal:
        raise record.refused("tools", refusal.detail) from None


def _risk(record: Fields) -> RiskLevel:
    try:
        return RiskLevel(record.members["maxRisk"])
    except ValueError:
        raise record.refused("maxRisk", "not a risk level") from None


def _refuse_rules_for_the_same(rules: tuple[Rule, ...]) -> None:
    """Two rules with one scope could never both govern: better said when the policy is read."""
    for earlier, later in combinations(rules, 2):
        for scope in set(earlier.scopes) & set(later.scopes):
            raise Refused(_FAULT, f"$.rules: two rules for {scope.server}, tools {scope.tool.text}")


def _ids_contain(wide: IdPattern, narrow: IdPattern) -> bool:
    """Whether every SPIFFE ID that `narrow` matches is matched by `wide`."""
    if wide.trust_domain != narrow.trust_domain:
        return False
    head = wide.segments[:-1] if wide.segments[-1] == "**" else wide.segments
    # `**` is at least one segment: with it `narrow` may go on, without it has to end where `wide` ends.
    fits = len(narrow.segments) > len(head) if head != wide.segments else len(narrow.segments) == len(head)
    return fits and all(
        have == want or (want == "*" and have != "**")
        for want, have in zip(head, narrow.segments, strict=False)
    )
