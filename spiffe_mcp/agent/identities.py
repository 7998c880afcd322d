"""The identities of one agent: its own, and on a node those of the workloads that it serves.

Enters: the section `identity` of the configuration. Leaves: the agent's own snapshots; for a local caller,
and for an MCP server that the configuration names, a source of identity. Here alone is decided which source
it is: who uses an identity does not know.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, Self, TypeAlias

from spiffe_mcp.agent.identity_config import (
    BrokerConfig,
    DelegatedConfig,
    IdentityConfig,
    PidFile,
    PodNamed,
    PodWithUid,
    ReferenceKind,
    ServerWorkload,
)
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.sources.broker import BrokerLink, BrokerSource
from spiffe_mcp.identity.sources.delegated import DelegatedSource
from spiffe_mcp.identity.sources.events import Reconnected, SourceEvent, Updated
from spiffe_mcp.identity.sources.reference import KubernetesReference, PidReference, Reference
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.wanted import ById, FirstOffered, Wanted
from spiffe_mcp.mesh.served_workload import Found
from spiffe_mcp.peer_credentials import AcceptedSocket
from spiffe_mcp.tls.broker_link import RelayedBrokerLink
from spiffe_mcp.workload.attestation import Attested, Pods, attest
from spiffe_mcp.workload.cgroup import PodUid
from spiffe_mcp.workload.living import LivingSource
from spiffe_mcp.workload.pid_file import named_process
from spiffe_mcp.workload.process import Process

Clock: TypeAlias = Callable[[], datetime]
OnEvent: TypeAlias = Callable[[SourceEvent], None]
Tell: TypeAlias = Callable[[str, SourceEvent], None]  # whose identity, and what its source says

_LOG: Final = logging.getLogger(__name__)
_Ask: TypeAlias = Callable[[Reference, Wanted, OnEvent], IdentitySource]


def own_source(config: IdentityConfig, clock: Clock, on_event: OnEvent) -> WorkloadApiSource:
    """The source of the agent's own identity."""
    return WorkloadApiSource(config.socket, wanted=config.wanted, clock=clock, on_event=on_event)


class WorkloadIdentities:
    """Makes a source of identity for any workload of this node, always a new one: they share no key."""

    def __init__(self, ask: _Ask, pods: Pods | None, tell: Tell) -> None:
        self._ask = ask
        self._pods = pods
        self._tell = tell

    @classmethod
    def of_broker(cls, config: BrokerConfig, link: BrokerLink, clock: Clock, tell: Tell) -> Self:
        """By the SPIFFE Broker API."""

        def ask(reference: Reference, wanted: Wanted, on_event: OnEvent) -> IdentitySource:
            return BrokerSource(link, reference, wanted=wanted, clock=clock, on_event=on_event)

        return cls(ask, Pods() if config.reference is ReferenceKind.KUBERNETES else None, tell)

    @classmethod
    def of_delegated(cls, config: DelegatedConfig, clock: Clock, tell: Tell) -> Self:
        """By SPIRE's Delegated Identity API."""

        def ask(reference: Reference, wanted: Wanted, on_event: OnEvent) -> IdentitySource:
            if not isinstance(reference, PidReference):
                raise TypeError(f"{reference}: this API knows processes only")
            return DelegatedSource(
                config.socket, reference.pid, wanted=wanted, clock=clock, on_event=on_event
            )

        return cls(ask, None, tell)

    # -- local callers --------------------------------------------------------------------------------------

    def attest(self, connection: AcceptedSocket) -> Attested:
        """The process at the other end of a local connection; raises `Refused`."""
        return attest(connection, self._pods)

    def of_caller(self, caller: Attested) -> IdentitySource:
        """The source of a caller's identity."""
        return self._asked(_reference(caller.process, caller.pod), FirstOffered())

    # -- MCP servers ----------------------------------------------------------------------------------------

    def of_server(self, workload: ServerWorkload, server: SpiffeId) -> Found:
        """Where the identity `server` of that workload comes from; raises `Refused` if it is not there."""
        match workload:
            case PidFile(path):
                return self._of_process(named_process(path), ById(server))
            case PodWithUid(uid):
                reference = KubernetesReference(uid=uid)
            case PodNamed(namespace, name):
                reference = KubernetesReference(uid="", namespace=namespace, name=name)
        return Found(self._asked(reference, ById(server)), close=lambda: None)

    def _of_process(self, process: Process, wanted: Wanted) -> Found:
        try:
            pod = None if self._pods is None else self._pods.of(process.pid)
            process.check_alive()
            source = self._asked(_reference(process, pod), wanted)
        except BaseException:
            process.close()
            raise
        return Found(LivingSource(source, process), process.close)

    def _asked(self, reference: Reference, wanted: Wanted) -> IdentitySource:
        return self._ask(reference, wanted, partial(self._tell, str(reference)))


def workload_identities(
    config: IdentityConfig, own: IdentitySource, clock: Clock, tell: Tell
) -> tuple[WorkloadIdentities | None, RelayedBrokerLink | None]:
    """Those of a node's workloads, if they are configured; and the way to the broker, which has to be run."""
    match config.workloads:
        case None:
            return None, None
        case DelegatedConfig() as delegated:
            return WorkloadIdentities.of_delegated(delegated, clock, tell), None
        case BrokerConfig() as broker:
            link = RelayedBrokerLink(broker.socket, own, server=broker.server, clock=clock)
            return WorkloadIdentities.of_broker(broker, link, clock, tell), link


def _reference(process: Process, pod: PodUid | None) -> Reference:
    return PidReference(process.pid) if pod is None else KubernetesReference(uid=str(pod))


def log_event(whose: str, event: SourceEvent) -> None:
    """What a source says, for the operator."""
    if isinstance(event, Updated):
        svid = event.state.svid
        _LOG.info("identity of %s: %s until %s", whose, svid.spiffe_id, svid.not_after)
    elif isinstance(event, Reconnected):
        _LOG.info("identity of %s: its source answers again, after %s", whose, event.code)
    else:
        _LOG.warning("identity of %s: %s", whose, event)
