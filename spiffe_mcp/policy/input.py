"""What a policy is asked: plain values in, the documented input document out.

The document is the contract with everyone who writes policy. `version` names this form of it; members may be
added under the same version, never renamed or given another meaning. What is not known is absent (undefined
in Rego), never null or empty, so that a rule about it does not fire by accident.

    version      "1"
    action       the MCP method, e.g. "tools/call"
    direction    "client_to_server", or "server_to_client": what the server asks of the client
    server       SPIFFE ID of the MCP server
    agent        {spiffe_id, trust_domain, path, chain}     the caller; chain: who it acts for, oldest first
    user         {sub, sub_iss, groups, ...}                the verified user, with the mapped claims
    tool         {name, digest, risk_level, requires_approval, serial, signers}    from the signed manifest
    tools        [tool, ...]                                only when `visible_tools` is asked
    arguments    object                                     of tools/call and prompts/get; the server's params
    resource     URI                                        of resources/read
    prompt       name                                       of prompts/get
    context      {txn, purpose, task, session, scope, hops}
    time         {now, unix, hour, weekday}                 UTC; now RFC 3339, weekday "monday" to "sunday"
    environment  object                                     from the operator's configuration

Pure: the clock is an argument. Knows nothing of the rooms these values come from.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Final, TypeAlias

from spiffe_mcp.strict_json import JsonObject, JsonValue

INPUT_VERSION: Final = "1"


class Direction(Enum):
    """Who asks whom."""

    CLIENT_TO_SERVER = "client_to_server"
    SERVER_TO_CLIENT = "server_to_client"


_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class AgentInput:
    """The workload that calls, from its verified SVID, and those it acts for."""

    spiffe_id: str
    trust_domain: str
    path: str
    chain: tuple[str, ...] = ()

    def document(self) -> JsonObject:
        """`input.agent`."""
        return {
            "spiffe_id": self.spiffe_id,
            "trust_domain": self.trust_domain,
            "path": self.path,
            "chain": list(self.chain),
        }


@dataclass(frozen=True, slots=True)
class UserInput:
    """The verified user. `claims` cannot stand in for `sub`, `sub_iss` or `groups`."""

    sub: str
    sub_iss: str
    groups: tuple[str, ...] = ()
    claims: Mapping[str, JsonValue] = field(default_factory=dict)

    def document(self) -> JsonObject:
        """`input.user`."""
        return {**self.claims, "sub": self.sub, "sub_iss": self.sub_iss, "groups": list(self.groups)}


@dataclass(frozen=True, slots=True)
class ToolInput:
    """One tool as its signed manifest describes it."""

    name: str
    digest: str
    risk_level: str
    requires_approval: bool
    serial: int
    signers: tuple[str, ...] = ()

    def document(self) -> JsonObject:
        """`input.tool`, or one of `input.tools`."""
        return {
            "name": self.name,
            "digest": self.digest,
            "risk_level": self.risk_level,
            "requires_approval": self.requires_approval,
            "serial": self.serial,
            "signers": list(self.signers),
        }


@dataclass(frozen=True, slots=True)
class ContextInput:
    """What the verified user context says of this transaction."""

    txn: str
    hops: int
    purpose: str | None = None
    task: str | None = None
    session: str | None = None
    scope: tuple[str, ...] = ()

    def document(self) -> JsonObject:
        """`input.context`; what the context does not carry is absent."""
        optional: JsonObject = {"purpose": self.purpose, "task": self.task, "session": self.session}
        known: JsonObject = {name: value for name, value in optional.items() if value is not None}
        return {**known, "txn": self.txn, "hops": self.hops, "scope": list(self.scope)}


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """One question to the policy. `now` is aware; `arguments` are the parsed ones that will be forwarded."""

    action: str
    server: str
    agent: AgentInput
    now: datetime
    user: UserInput | None = None
    tool: ToolInput | None = None
    tools: tuple[ToolInput, ...] | None = None
    arguments: JsonObject | None = None
    resource: str | None = None
    prompt: str | None = None
    context: ContextInput | None = None
    environment: Mapping[str, JsonValue] = field(default_factory=dict)
    direction: Direction = Direction.CLIENT_TO_SERVER

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError("now is not aware: a policy about hours would decide by the node's time zone")

    def document(self, members: Collection[str] | None = None) -> JsonObject:
        """The document of this module's docstring, freshly built; its members may be those of the caller.

        With `members`, it has no others: what nobody reads need not be built.
        """
        wanted = _MEMBERS if members is None else [name for name in _MEMBERS if name in members]
        known = ((name, _MEMBERS[name](self)) for name in wanted)
        return {name: value for name, value in known if value is not None}


def _time(now: datetime) -> JsonObject:
    utc = now.astimezone(UTC)
    return {
        "now": utc.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "unix": int(utc.timestamp()),
        "hour": utc.hour,
        "weekday": _WEEKDAYS[utc.weekday()],
    }


_Part: TypeAlias = AgentInput | UserInput | ToolInput | ContextInput


def _of(part: _Part | None) -> JsonValue:
    return None if part is None else part.document()


def _all_of(parts: tuple[_Part, ...] | None) -> JsonValue:
    return None if parts is None else [part.document() for part in parts]


# Every member of the document: None for one that is not known.
_MEMBERS: Final[Mapping[str, Callable[[PolicyInput], JsonValue]]] = {
    "version": lambda _: INPUT_VERSION,
    "action": lambda asked: asked.action,
    "direction": lambda asked: asked.direction.value,
    "server": lambda asked: asked.server,
    "agent": lambda asked: asked.agent.document(),
    "time": lambda asked: _time(asked.now),
    "environment": lambda asked: dict(asked.environment),
    "user": lambda asked: _of(asked.user),
    "tool": lambda asked: _of(asked.tool),
    "context": lambda asked: _of(asked.context),
    "resource": lambda asked: asked.resource,
    "prompt": lambda asked: asked.prompt,
    "arguments": lambda asked: asked.arguments,
    "tools": lambda asked: _all_of(asked.tools),
}
