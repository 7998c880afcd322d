"""The agent's configuration file: YAML in, frozen values out, every error with file, line and key.

What the keys mean to a component stands with the component; here stands only how they are spelled. The
reference is `docs/reference/configuration.md`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final, Protocol, TypeVar

from spiffe_mcp.agent import identity_config
from spiffe_mcp.agent.admin_config import AdminConfig, read_admin
from spiffe_mcp.agent.identity_config import SPIFFE_ID, IdentityConfig, ServerWorkload
from spiffe_mcp.audit import Fsync
from spiffe_mcp.config import Section, read_file
from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.live import MAX_LIFETIME
from spiffe_mcp.mesh.routes import EgressRoute, ServerName
from spiffe_mcp.mesh.stdio import Processes, Program
from spiffe_mcp.mesh.stdio.program import MOST
from spiffe_mcp.mesh.targets import HttpUpstream, Target, Trust, parse_target

MAX_RECHECK: Final = 3600  # seconds for which what a server lists may go unseen
LONGEST_LIFETIME: Final = 86_400  # seconds
MOST_ADDRESSES: Final = 16  # of one server
LONGEST_DRAIN: Final = 3600  # seconds
DRAIN: Final = timedelta(seconds=20)  # less than the 30 s after which Kubernetes kills
MOST_PROCESSES: Final = 1024  # of one server, for sessions
OWNER_ONLY: Final = 0o600  # the file mode is the guard
EVERYBODY: Final = 0o666  # attestation is the guard: a workload has nothing else to show
_MODE: Final = re.compile(r"0?6[0246]{2}")
_PATTERN: Final = f"{SPIFFE_ID}, * or ** for segments"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a listener binds: a TCP address (port 0: the kernel chooses), or a Unix socket."""

    address: Address | Path

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """`host:port` or `unix:/path`; raises ValueError."""
        if text.startswith("unix:/"):
            return cls(Path(text.removeprefix("unix:")))
        return cls(Address.parse(text))


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """The side that local workloads call out through."""

    listen: Listen
    mode: int  # of a Unix socket: who may connect
    user: User
    servers: tuple[EgressRoute, ...]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One MCP server behind the ingress."""

    name: ServerName
    upstream: Target | Program
    manifest: Path
    minimum_era: Era = Era.LEGACY


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """The side that faces the mesh, as the MCP server that `identity` names.

    Its SVID is the agent's own, or that of `workload`.
    """

    identity: SpiffeId
    workload: ServerWorkload | None
    listen: Address
    peers: AllowedIds
    servers: tuple[ServerConfig, ...]
    trust_policy: Path
    policy: tuple[Path, ...]
    policy_data: Path | None
    policy_version: str  # empty: the digest
    environment: str
    recheck: timedelta


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """Where records go. `shown` names the parameters whose values may stand in them."""

    file: Path
    fsync: Fsync
    shown: frozenset[str]


@dataclass(frozen=True, slots=True)
class ConnectionsConfig:
    """How long a connection between agents may live, whatever its SVIDs allow; and any, once it is to end."""

    max_lifetime: timedelta = MAX_LIFETIME
    drain: timedelta = DRAIN  # for what runs, once the agent was told to stop


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """One agent: an egress, ingresses, or both."""

    identity: IdentityConfig
    egress: EgressConfig | None
    ingresses: tuple[IngressConfig, ...]
    audit: AuditConfig
    connections: ConnectionsConfig = field(default_factory=ConnectionsConfig)
    admin: AdminConfig | None = None


def load(path: Path) -> AgentConfig:
    """The configuration in the file at `path`; raises `Refused(CONFIG_INVALID)`."""
    return read_file(path, _agent)


def _agent(section: Section) -> AgentConfig:
    identity = section.section("identity", identity_config.identity)
    config = AgentConfig(
        identity=identity,
        egress=section.optional("egress", lambda egress: _egress(egress, identity)),
        ingresses=section.one_or_more("ingress", lambda ingress: _ingress(ingress, identity)),
        audit=section.section("audit", _audit),
        connections=section.optional("connections", _connections) or ConnectionsConfig(),
        admin=section.optional("admin", read_admin),
    )
    if config.egress is None and not config.ingresses:
        section.refuse("an agent needs 'egress', 'ingress' or both")
    return config


def _egress(section: Section, identity: IdentityConfig) -> EgressConfig:
    if identity.workloads is None:
        listen = section.value("listen", Listen.parse, "host:port or unix:/path")
    else:
        # Over TCP the kernel does not say which process calls.
        listen = section.value("listen", _unix, "unix:/path, for local callers are attested")
    mode = section.optional_value("mode", _mode, "an octal mode of a socket, from '0600' to '0666'")
    if mode is not None and isinstance(listen.address, Address):
        section.refuse("'mode' is for a Unix socket")
    return EgressConfig(
        listen=listen,
        mode=mode or (OWNER_ONLY if identity.workloads is None else EVERYBODY),
        user=section.section("user", _user),
        servers=_unique(section, section.sections("servers", _egress_route)),
    )


def _egress_route(section: Section) -> EgressRoute:
    return EgressRoute(
        name=section.value("name", ServerName, "a DNS label"),
        server=section.value("spiffe_id", IdPattern.parse, _PATTERN),
        addresses=_addresses(section),
        minimum_era=_minimum_era(section),
    )


def _addresses(section: Section) -> tuple[Address, ...]:
    addresses = section.value_or_values("address", Address.parse, "host:port")
    if len(addresses) > MOST_ADDRESSES:  # a call may try them all
        section.refuse(f"more than {MOST_ADDRESSES} addresses")
    if len(set(addresses)) < len(addresses):
        section.refuse("an address stands here twice")
    return addresses


def _user(section: Section) -> User:
    def text(key: str) -> str | None:
        return section.optional_value(key, str, "a text")

    def texts(key: str) -> tuple[str, ...]:
        return section.values(key, str, "a text")

    try:
        return User(
            sub=section.text("sub"),
            sub_iss=section.text("sub_iss"),
            groups=texts("groups"),
            department=text("department"),
            role=text("role"),
            clearance=text("clearance"),
            session=text("session"),
            purpose=text("purpose"),
            task=text("task"),
            approvals=texts("approvals"),
            acr=text("acr"),
            amr=texts("amr"),
            auth_time=section.optional_value("auth_time", int, "whole seconds since 1970"),
            risk_score=section.optional_value("risk_score", float, "a number"),
            data_classification=text("data_classification"),
            compliance_frameworks=texts("compliance_frameworks"),
        )
    except Refused as refused:
        if refused.reason is Reason.CONFIG_INVALID:
            raise
        section.refuse(refused.detail)


def _ingress(section: Section, identity: IdentityConfig) -> IngressConfig:
    spiffe_id = section.optional_value("spiffe_id", SpiffeId.parse, SPIFFE_ID)
    workload = section.optional("workload", lambda named: identity_config.server_workload(named, identity))
    if workload is None and spiffe_id is not None:
        section.refuse("'spiffe_id' needs 'workload'; the agent's own is 'identity.spiffe_id'")
    server = identity.spiffe_id if workload is None else spiffe_id
    if server is None:
        missing = "identity.spiffe_id" if workload is None else "spiffe_id"
        section.refuse(f"needs '{missing}': which server's manifest and contexts are meant")
    return IngressConfig(
        identity=server,
        workload=workload,
        listen=section.value("listen", Address.parse, "host:port"),
        peers=AllowedIds(section.values("peers", IdPattern.parse, _PATTERN)),
        servers=_unique(section, section.sections("servers", _server)),
        trust_policy=section.path("trust_policy"),
        policy=section.paths("policy"),
        policy_data=section.optional_path("policy_data"),
        policy_version=section.optional_value("policy_version", str, "a text") or "",
        environment=section.text("environment", "default"),
        recheck=section.value("recheck", _seconds(MAX_RECHECK), _up_to(MAX_RECHECK), timedelta(seconds=30)),
    )


def _server(section: Section) -> ServerConfig:
    return ServerConfig(
        name=section.value("name", ServerName, "a DNS label"),
        upstream=_upstream(section),
        manifest=section.path("manifest"),
        minimum_era=_minimum_era(section),
    )


def _minimum_era(section: Section) -> Era:
    return section.value("minimum_era", Era, _one_of(Era), Era.LEGACY)


def _upstream(section: Section) -> Target | Program:
    if section.is_mapping("upstream"):
        return section.section("upstream", _program)
    target = section.value(
        "upstream",
        parse_target,
        "http://host:port/path, https://host/path or unix:/path/to.sock:/path",
    )
    ca_file = section.optional_path("upstream_ca")
    if ca_file is None:
        return target
    if not isinstance(target, HttpUpstream) or target.trust is None:
        section.refuse("'upstream_ca' is for an upstream of https://")
    return replace(target, trust=Trust(ca_file))


def _program(section: Section) -> Program:
    command = section.values("stdio", str, "a command, and each of its arguments")
    try:
        return Program(
            command=command,
            env=section.optional("env", lambda env: env.pairs(str, "a text")) or (),
            cwd=section.optional_path("cwd"),
            processes=section.value("processes", Processes, _one_of(Processes), Processes.SESSION),
            most=section.value("max_processes", _whole(MOST_PROCESSES), f"1 to {MOST_PROCESSES}", MOST),
        )
    except ValueError:
        section.refuse("'stdio' has to be a command, and 'env' has to have names of variables")


def _one_of(kind: type[Enum]) -> str:
    return " or ".join(f"'{member.value}'" for member in kind)


def _whole(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    return parse


def _audit(section: Section) -> AuditConfig:
    return AuditConfig(
        file=section.path("file"),
        fsync=section.value("fsync", Fsync, _one_of(Fsync), Fsync.ALWAYS),
        shown=frozenset(section.values("shown_parameters", str, "a parameter's name")),
    )


def _connections(section: Section) -> ConnectionsConfig:
    lifetime = section.value(
        "max_lifetime", _seconds(LONGEST_LIFETIME), _up_to(LONGEST_LIFETIME), MAX_LIFETIME
    )
    drain = section.value("drain", _seconds(LONGEST_DRAIN, 0), _up_to(LONGEST_DRAIN, 0), DRAIN)
    return ConnectionsConfig(lifetime, drain)


def _up_to(most: int, least: int = 1) -> str:
    return f"whole seconds from {least} to {most}"


def _seconds(most: int, least: int = 1) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(text)
        return timedelta(seconds=int(text))

    return parse


def _unix(text: str) -> Listen:
    if not text.startswith("unix:"):
        raise ValueError(text)
    return Listen.parse(text)


def _mode(text: str) -> int:
    mode = int(text, 8)
    # Its owner has to be able to connect; a socket is not executed.
    if not _MODE.fullmatch(text) or mode & 0o600 != OWNER_ONLY:
        raise ValueError(text)
    return mode


class _Named(Protocol):
    @property
    def name(self) -> ServerName: ...


N = TypeVar("N", bound=_Named)


def _unique(section: Section, servers: tuple[N, ...]) -> tuple[N, ...]:
    names = [server.name for server in servers]
    if not names or len(set(names)) != len(names):
        section.refuse("'servers' has to name at least one server, each once")
    return servers
