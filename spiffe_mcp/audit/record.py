"""One audit record: what happened in one exchange, one refused attempt to begin one, or one reload.

Enters: plain values of the other rooms. Leaves: a JSON object of bounded size, whose texts UTF-8 can carry.
A record never holds a token, a signature, or a parameter's value that the operator has not asked to see.

Parameters are recorded by name and JSON type, with the SHA-256 of the bytes they came in: enough to prove
later what was sent, not enough to read it; but there is no key in it, so a short value can be guessed. Those
named in `shown` stand in clear, if they are no containers.

What is known of a caller, a target and a decision grows from step to step: they are named tuples, which are
as unchangeable as the rest and cheaper to make anew (`_replace`).

Pure. Knows nothing of files, chains, or of who decides.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple, Self, TypeVar

from spiffe_mcp.errors import Refused
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TEXT: Final = 512  # characters of one text; SPIFFE IDs have their own bound
MAX_ID: Final = 2048  # SPIFFE-ID section 2.3
MAX_ITEMS: Final = 64  # parameters, links of a chain, approvals
_MAX_INTEGER: Final = 2**63 - 1  # what the JSON writer, and most readers, can hold

_IDS: Final = frozenset({"peer", "caller", "server", "resource"})  # texts that may be as long as MAX_ID
_TYPE_NAMES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "boolean",
    str: "string",
    dict: "object",
    list: "array",
}

_T = TypeVar("_T")


class Side(Enum):
    """Which side of this agent the exchange came in by."""

    EGRESS = "egress"
    INGRESS = "ingress"


class Kind(Enum):
    """An exchange; an attempt to authenticate that came to none (handshake, user context); or a reload."""

    EXCHANGE = "exchange"
    AUTHENTICATION = "authentication"
    RELOAD = "reload"


class Verdict(Enum):
    """Whether the exchange was permitted."""

    ALLOW = "allow"
    REFUSE = "refuse"


class Outcome(Enum):
    """How it ended. `DISCONNECTED`: the caller left, which ends nothing but its connection."""

    COMPLETED = "completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    DISCONNECTED = "disconnected"
    ERROR = "error"


class Caller(NamedTuple):
    """Who called, as far as it was verified. `peer` is the TLS peer, `caller` who it speaks for.

    `process` and `pod` are what the kernel said of a local caller.
    """

    peer_address: str = ""
    peer: str = ""
    caller: str = ""
    chain: tuple[str, ...] = ()
    user: str = ""
    user_iss: str = ""
    process: str = ""
    pod: str = ""


class Target(NamedTuple):
    """What was called: the MCP method, the server's SPIFFE ID, the tool as its manifest has it."""

    action: str = ""
    server: str = ""
    tool: str = ""
    tool_digest: str = ""
    manifest_serial: int | None = None
    prompt: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Names of parameters with their JSON types or shown values, and the digest of their bytes."""

    shape: JsonObject
    digest: str

    @classmethod
    def redacted(
        cls, values: Mapping[str, JsonValue], raw: bytes, shown: AbstractSet[str] = frozenset()
    ) -> Self:
        """`values` without what is not `shown`; `raw` is the exact bytes they were parsed from."""
        shape = {
            name: value if name in shown and _is_scalar(value) else _type_name(value)
            for name, value in values.items()
        }
        return cls(shape, f"sha256:{sha256(raw).hexdigest()}")


class Ruling(NamedTuple):
    """The decision and its grounds. `reason` is the mesh's stable code, `justification` the policy's words.

    By default a refusal: what was not decided was not permitted.
    """

    verdict: Verdict = Verdict.REFUSE
    reason: str = ""
    rule: str = ""
    policy_version: str = ""
    policy_digest: str = ""
    justification: str = ""
    approvals: tuple[str, ...] = ()


# What is recorded of who, what and why before anything is known of it.
NOBODY: Final = Caller()
NOTHING: Final = Target()
UNDECIDED: Final = Ruling()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """All of it. `time` is when the exchange began; durations are milliseconds by name of the phase."""

    time: datetime
    exchange: str
    side: Side
    outcome: Outcome
    kind: Kind = Kind.EXCHANGE
    txn: str = ""
    caller: Caller = NOBODY
    target: Target = NOTHING
    parameters: Parameters | None = None
    ruling: Ruling = UNDECIDED
    error: str = ""
    withheld: Mapping[str, str] = field(default_factory=dict)  # tools left out of a list, and why
    passed_over: Mapping[str, str] = field(default_factory=dict)  # addresses tried before, and why not
    durations_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise ValueError("time is not aware: the record would not say when")

    def document(self) -> JsonObject:
        """The record as it is written; what is empty is absent, `cut` counts what was too long."""
        writer = _Writer(self._texts())
        writer.texts("chain", self.caller.chain)
        writer.texts("approvals", self.ruling.approvals)
        if self.target.manifest_serial is not None:
            writer.written["manifest_serial"] = self.target.manifest_serial
        if self.parameters is not None:
            writer.shape("parameters", self.parameters.shape)
        if self.withheld:
            writer.shape("withheld", self.withheld)
        if self.passed_over:
            writer.shape("passed_over", self.passed_over)
        if self.durations_ms:
            writer.written["durations_ms"] = {
                name: round(took, 3) for name, took in self.durations_ms.items()
            }
        if writer.cut:
            writer.written["cut"] = writer.cut
        return writer.written

    def _texts(self) -> dict[str, str]:
        """Every member that is a text, by name, empty ones too."""
        who, what, ruling = self.caller, self.target, self.ruling
        return {
            "time": _instant(self.time),
            "exchange": self.exchange,
            "kind": self.kind.value,
            "side": self.side.value,
            "txn": self.txn,
            "peer_address": who.peer_address,
            "process": who.process,
            "pod": who.pod,
            "peer": who.peer,
            "caller": who.caller,
            "user": who.user,
            "user_iss": who.user_iss,
            "action": what.action,
            "server": what.server,
            "tool": what.tool,
            "tool_digest": what.tool_digest,
            "prompt": what.prompt,
            "resource": what.resource,
            "parameters_digest": self.parameters.digest if self.parameters is not None else "",
            "decision": ruling.verdict.value,
            "reason": ruling.reason,
            "rule": ruling.rule,
            "policy_version": ruling.policy_version,
            "policy_digest": ruling.policy_digest,
            "justification": ruling.justification,
            "outcome": self.outcome.value,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class ReloadRecord:
    """That the configuration was read again: put in force, or refused and why.

    `changed` has the files that differ from those in force, by name, each with the digest of what was read;
    an empty one is of a file that could not be.
    """

    time: datetime
    changed: Mapping[str, str]
    refused: Refused | None = None

    def document(self) -> JsonObject:
        """The record as it is written, as that of an exchange."""
        writer = _Writer(self._texts())
        if self.changed:
            writer.shape("changed", self.changed)
        if writer.cut:
            writer.written["cut"] = writer.cut
        return writer.written

    def _texts(self) -> dict[str, str]:
        refused = self.refused
        return {
            "time": _instant(self.time),
            "kind": Kind.RELOAD.value,
            "reason": "" if refused is None else refused.reason.code,
            "outcome": (Outcome.COMPLETED if refused is None else Outcome.REFUSED).value,
            "error": "" if refused is None else refused.detail,
        }


class _Writer:
    """Collects members, bounds each, counts what it had to cut."""

    __slots__ = ("cut", "written")

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.cut = 0
        known = {name: text for name, text in texts.items() if text}
        # Nearly always nothing has to be bounded, which is found of all of them at once.
        if max(map(len, known.values())) > MAX_TEXT or not "".join(known.values()).isascii():
            known = {name: self._bounded(text, _limit(name)) for name, text in known.items()}
        self.written: JsonObject = {**known}

    def texts(self, name: str, texts: tuple[str, ...]) -> None:
        """A list of texts."""
        if texts:
            self.written[name] = [self._bounded(text, MAX_ID) for text in self._first(texts)]

    def shape(self, name: str, shape: Mapping[str, JsonValue]) -> None:
        """An object of scalars."""
        members = self._first(tuple(shape.items()))
        self.written[name] = {self._bounded(member): self._scalar(value) for member, value in members}

    def _first(self, items: tuple[_T, ...]) -> tuple[_T, ...]:
        self.cut += max(0, len(items) - MAX_ITEMS)
        return items[:MAX_ITEMS]

    def _scalar(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._bounded(value)
        if isinstance(value, int) and abs(value) > _MAX_INTEGER:
            return self._bounded(str(value))
        return value

    def _bounded(self, text: str, limit: int = MAX_TEXT) -> str:
        """`text`, or its beginning and how many characters went; lone surrogates become `?`."""
        if len(text) > limit:
            self.cut += 1
            text = f"{text[:limit]}...(+{len(text) - limit})"
        return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_scalar(value: JsonValue) -> bool:
    return not isinstance(value, (dict, list))


def _limit(name: str) -> int:
    return MAX_ID if name in _IDS else MAX_TEXT


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _type_name(value: JsonValue) -> str:
    """RFC 8259 section 3."""
    return _TYPE_NAMES.get(type(value), "number")
