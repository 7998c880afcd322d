"""One audit record: what happened in one exchange, or one refused attempt to begin one.

Enters: plain values of the other rooms. Leaves: a JSON object of bounded size, whose texts UTF-8 can carry.
A record never holds a token, a signature, or a parameter's value that the operator has not asked to see.

Parameters are recorded by name and JSON type, with the SHA-256 of the bytes they came in: enough to prove
later what was sent, not enough to read it; but there is no key in it, so a short value can be guessed. Those
named in `shown` stand in clear, if they are no containers.

Pure. Knows nothing of files, chains, or of who decides.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Final, Self, TypeVar

from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TEXT: Final = 512  # characters of one text; SPIFFE IDs have their own bound
MAX_ID: Final = 2048  # SPIFFE-ID section 2.3
MAX_ITEMS: Final = 64  # parameters, links of a chain, approvals
_MAX_INTEGER: Final = 2**63 - 1  # what the JSON writer, and most readers, can hold

_T = TypeVar("_T")


class Side(Enum):
    """Which side of this agent the exchange came in by."""

    EGRESS = "egress"
    INGRESS = "ingress"


class Kind(Enum):
    """An exchange, or an attempt to authenticate that came to none: a handshake, a user context."""

    EXCHANGE = "exchange"
    AUTHENTICATION = "authentication"


class Verdict(Enum):
    """Whether the exchange was permitted."""

    ALLOW = "allow"
    REFUSE = "refuse"


class Outcome(Enum):
    """How it ended."""

    COMPLETED = "completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Caller:
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


@dataclass(frozen=True, slots=True)
class Target:
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


@dataclass(frozen=True, slots=True)
class Ruling:
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


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """All of it. `time` is when the exchange began; durations are milliseconds by name of the phase."""

    time: datetime
    exchange: str
    side: Side
    outcome: Outcome
    kind: Kind = Kind.EXCHANGE
    txn: str = ""
    caller: Caller = field(default_factory=Caller)
    target: Target = field(default_factory=Target)
    parameters: Parameters | None = None
    ruling: Ruling = field(default_factory=Ruling)
    error: str = ""
    withheld: Mapping[str, str] = field(default_factory=dict)  # tools left out of a list, and why
    durations_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise ValueError("time is not aware: the record would not say when")

    def document(self) -> JsonObject:
        """The record as it is written; what is empty is absent, `cut` counts what was too long."""
        writer = _Writer()
        who, what, ruling = self.caller, self.target, self.ruling
        writer.text(
            "time", self.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        writer.text("exchange", self.exchange)
        writer.text("kind", self.kind.value)
        writer.text("side", self.side.value)
        writer.text("txn", self.txn)
        writer.text("peer_address", who.peer_address)
        writer.text("process", who.process)
        writer.text("pod", who.pod)
        writer.text("peer", who.peer, MAX_ID)
        writer.text("caller", who.caller, MAX_ID)
        writer.texts("chain", who.chain)
        writer.text("user", who.user)
        writer.text("user_iss", who.user_iss)
        writer.text("action", what.action)
        writer.text("server", what.server, MAX_ID)
        writer.text("tool", what.tool)
        writer.text("tool_digest", what.tool_digest)
        writer.text("prompt", what.prompt)
        writer.text("resource", what.resource, MAX_ID)
        if what.manifest_serial is not None:
            writer.written["manifest_serial"] = what.manifest_serial
        if self.parameters is not None:
            writer.shape("parameters", self.parameters.shape)
            writer.text("parameters_digest", self.parameters.digest)
        writer.text("decision", ruling.verdict.value)
        writer.text("reason", ruling.reason)
        writer.text("rule", ruling.rule)
        writer.text("policy_version", ruling.policy_version)
        writer.text("policy_digest", ruling.policy_digest)
        writer.text("justification", ruling.justification)
        writer.texts("approvals", ruling.approvals)
        writer.text("outcome", self.outcome.value)
        writer.text("error", self.error)
        if self.withheld:
            writer.shape("withheld", dict(self.withheld))
        if self.durations_ms:
            writer.written["durations_ms"] = {
                name: round(took, 3) for name, took in self.durations_ms.items()
            }
        if writer.cut:
            writer.written["cut"] = writer.cut
        return writer.written


class _Writer:
    """Collects members, bounds each, counts what it had to cut."""

    __slots__ = ("cut", "written")

    def __init__(self) -> None:
        self.written: JsonObject = {}
        self.cut = 0

    def text(self, name: str, text: str, limit: int = MAX_TEXT) -> None:
        if text:
            is_plain = len(text) <= limit and text.isascii()  # nearly always, and half the cost of the call
            self.written[name] = text if is_plain else self._bounded(text, limit)

    def texts(self, name: str, texts: Iterable[str]) -> None:
        if listed := tuple(texts):
            self.written[name] = [self._bounded(text, MAX_ID) for text in self._first(listed)]

    def shape(self, name: str, shape: JsonObject) -> None:
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


def _type_name(value: JsonValue) -> str:
    """RFC 8259 section 3."""
    if value is None:
        return "null"
    names: tuple[tuple[type, str], ...] = (
        (bool, "boolean"),
        (str, "string"),
        (dict, "object"),
        (list, "array"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "number")
