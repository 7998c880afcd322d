"""The section `identity` of the agent's configuration, and how a server's workload is named.

Where the agent's own SVID comes from, and, on a node, where those of its workloads do. The reference is
`docs/reference/configuration.md`.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

from spiffe_mcp.config import Section
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.identity.sources.reference import KubernetesReference
from spiffe_mcp.identity.wanted import MAX_HINT, ByHint, ById, FirstOffered, Wanted

SPIFFE_ID: Final = "a SPIFFE ID (spiffe://trust-domain/path)"
_SOCKET: Final = "unix:///path/to/socket"
_MANY: Final = "'source: broker' or 'source: delegated'"


class Source(Enum):
    """Whose identities an agent has: its own, or those of all workloads on its node."""

    WORKLOAD_API = "workload-api"
    BROKER = "broker"
    DELEGATED = "delegated"


class ReferenceKind(Enum):
    """By what a workload is asked for: its process, or the pod that its process is in."""

    PID = "pid"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """The SPIFFE Broker API at `socket`, served by one of `server`."""

    socket: str
    server: AllowedIds
    reference: ReferenceKind


@dataclass(frozen=True, slots=True)
class DelegatedConfig:
    """SPIRE's Delegated Identity API at `socket`; it knows processes only."""

    socket: str

    @property
    def reference(self) -> ReferenceKind:
        """By PID."""
        return ReferenceKind.PID


@dataclass(frozen=True, slots=True)
class IdentityConfig:
    """Where the agent's own SVID comes from and which one it is, and where those of its workloads do."""

    socket: str
    spiffe_id: SpiffeId | None
    hint: ByHint | None = None
    workloads: BrokerConfig | DelegatedConfig | None = None  # None: a sidecar, whose one workload it is

    @property
    def wanted(self) -> Wanted:
        """Which of several SVIDs is the agent's own."""
        by_id = ById(self.spiffe_id) if self.spiffe_id else None
        return by_id or self.hint or FirstOffered()


@dataclass(frozen=True, slots=True)
class PidFile:
    """The process that a file names."""

    path: Path


@dataclass(frozen=True, slots=True)
class PodWithUid:
    """A pod, by the UID of this one instance."""

    uid: str


@dataclass(frozen=True, slots=True)
class PodNamed:
    """A pod by its name: this instance, and the next of that name."""

    namespace: str
    name: str


ServerWorkload: TypeAlias = PidFile | PodWithUid | PodNamed


def identity(section: Section) -> IdentityConfig:
    """The section `identity`."""
    source = section.value("source", Source, _words(Source), Source.WORKLOAD_API)
    socket = section.value("socket", unix, _SOCKET)
    spiffe_id = section.optional_value("spiffe_id", SpiffeId.parse, SPIFFE_ID)
    hint = section.optional_value("hint", ByHint, f"a printable text of at most {MAX_HINT} bytes")
    if spiffe_id and hint:
        section.refuse("'spiffe_id' and 'hint' both say which SVID to use; keep one")
    return IdentityConfig(socket, spiffe_id, hint, _workloads(section, source))


def _workloads(section: Section, source: Source) -> BrokerConfig | DelegatedConfig | None:
    reference = section.optional_value("reference", ReferenceKind, _words(ReferenceKind))
    broker = section.optional("broker", lambda part: _broker(part, reference or ReferenceKind.PID))
    delegated = section.optional("delegated", _delegated)
    for name, found in ((Source.BROKER, broker), (Source.DELEGATED, delegated)):
        if found is None and source is name:
            section.refuse(f"'source: {name.value}' needs a section '{name.value}'")
        if found is not None and source is not name:
            section.refuse(f"a section '{name.value}' needs 'source: {name.value}'")
    if reference is not None and broker is None:
        section.refuse("'reference' needs 'source: broker'; other sources leave no choice")
    return broker or delegated


def _broker(section: Section, reference: ReferenceKind) -> BrokerConfig:
    pattern = section.value("server", IdPattern.parse, f"{SPIFFE_ID}, * or ** for segments")
    return BrokerConfig(section.value("socket", unix, _SOCKET), AllowedIds((pattern,)), reference)


def _delegated(section: Section) -> DelegatedConfig:
    return DelegatedConfig(section.value("socket", unix, _SOCKET))


def server_workload(section: Section, config: IdentityConfig) -> ServerWorkload:
    """The section `workload` of an ingress: whose identity it has."""
    if config.workloads is None:
        section.refuse(f"needs {_MANY}: the agent has no identity but its own")
    file, pod = section.optional_path("pid_file"), section.optional("pod", _pod)
    if file is not None and pod is None:
        return PidFile(file)
    if pod is None or file is not None:
        section.refuse("one of 'pid_file' and 'pod' has to name the workload")
    if config.workloads.reference is not ReferenceKind.KUBERNETES:
        section.refuse("'pod' needs 'reference: kubernetes'")
    return pod


def _pod(section: Section) -> PodWithUid | PodNamed:
    uid = section.optional_value("uid", _uid, "the UID of a pod, lower case with dashes")
    namespace = section.optional_value("namespace", str, "a text")
    name = section.optional_value("name", str, "a text")
    if uid is not None and namespace is None and name is None:
        return PodWithUid(uid)
    if uid is not None or namespace is None or name is None:
        section.refuse("a pod is named by 'uid', or by 'namespace' and 'name'")
    try:
        KubernetesReference(namespace=namespace, name=name)
    except Refused:
        section.refuse("'namespace' and 'name' have to be names that Kubernetes gives")
    return PodNamed(namespace, name)


def _uid(text: str) -> str:
    if str(UUID(text)) != text:
        raise ValueError(text)
    return text


def unix(text: str) -> str:
    """`unix:///path`; raises ValueError."""
    if not text.startswith("unix:///"):
        raise ValueError(text)
    return text


def _words(choice: type[Enum]) -> str:
    *first, last = (f"'{member.value}'" for member in choice)
    return f"{', '.join(first)} or {last}"
