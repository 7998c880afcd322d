"""The order of a diagnosis: each step looks at what the next one needs, and the first cause is said first.

    machine -> configuration -> audit log -> socket -> Workload API -> SVID, clock, bundles -> peers -> agent

Enters: what the operator named. Leaves: findings, as they are made. Where a step fails, those that stand on
it are left out: they would only repeat it. The agent is asked in any case.
"""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.doctor import identity, machine, peer, running, socket, workload_api
from spiffe_mcp.doctor.finding import Check, Finding, Severity, error, ok
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import IdPattern, TrustDomain
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import FirstOffered, Wanted
from spiffe_mcp.mesh.addresses import Address


@dataclass(frozen=True, slots=True)
class Target:
    """A peer to try: where it is, and who has to answer."""

    address: Address
    server: IdPattern


@dataclass(frozen=True, slots=True)
class Patient:
    """What to look at: a socket, which SVID is wanted there, whom it has to reach, and by what it is run."""

    socket: str
    wanted: Wanted = field(default_factory=FirstOffered)
    peers: tuple[Target, ...] = ()
    config: AgentConfig | None = None

    @property
    def needed(self) -> Collection[TrustDomain]:
        """The trust domains that it has to know."""
        ingresses = self.config.ingresses if self.config else ()
        admitted = [pattern for ingress in ingresses for pattern in ingress.peers.patterns]
        named = [*admitted, *(target.server for target in self.peers)]
        return {pattern.trust_domain for pattern in named}


def of_config(
    path: Path, socket: str | None, peers: tuple[Target, ...], now: datetime
) -> tuple[Patient | None, Finding]:
    """The patient that the file describes; None if it describes none. Arguments go before the file."""
    try:
        config = load(path)
    except Refused as refused:
        return None, _invalid(refused)
    # A node's hops are its workloads', with identities that the agent's own could not stand in for.
    routes = config.egress.servers if config.egress and config.identity.workloads is None else ()
    configured = tuple(Target(address, route.server) for route in routes for address in route.addresses)
    found = Patient(socket or config.identity.socket, config.identity.wanted, (*configured, *peers), config)
    return found, _loaded(path, config, now)


def _loaded(path: Path, config: AgentConfig, now: datetime) -> Finding:
    """Whether what the file names (manifests, trust policy, Rego) is good, as the agent would judge it."""
    try:
        for ingress in config.ingresses:
            load_site(ingress, now)
    except Refused as refused:
        return _invalid(refused)
    return ok(Check.CONFIGURATION, f"{path} and all that it names can be loaded.")


def _invalid(refused: Refused) -> Finding:
    return error(
        Check.CONFIGURATION, f"The agent would not start: {refused}", "Correct what the message names."
    )


async def examine(patient: Patient, clock: Callable[[], datetime]) -> AsyncIterator[Finding]:
    """All findings about `patient` but for its configuration."""
    yield machine.descriptors(patient.config)
    if patient.config is not None:
        yield machine.audit_log(patient.config.audit.file)
    async for finding in _identity(patient, clock):
        yield finding
    if patient.config is not None and patient.config.identity.workloads is not None:
        yield socket.look_at(patient.config.identity.workloads.socket)
    if patient.config is not None and patient.config.admin is not None:
        yield await running.asked(patient.config.admin)


async def _identity(patient: Patient, clock: Callable[[], datetime]) -> AsyncIterator[Finding]:
    seen = socket.look_at(patient.socket)
    yield seen
    if seen.severity is not Severity.OK:
        return
    offered = await workload_api.offered(patient.socket)
    if isinstance(offered, Finding):
        yield offered
        return
    yield ok(Check.WORKLOAD_API, f"The provider offers {_svids(len(offered.svids))}.")
    judged = identity.judge(offered, patient.wanted, patient.needed, clock())
    for finding in judged.findings:
        yield finding
    if judged.state is not None:
        async for finding in _peers(patient.peers, judged.state, clock):
            yield finding


async def _peers(
    targets: tuple[Target, ...], state: IdentityState, clock: Callable[[], datetime]
) -> AsyncIterator[Finding]:
    for target in targets:
        yield await peer.tried(state, target.address, target.server, clock)


def _svids(count: int) -> str:
    return "1 SVID" if count == 1 else f"{count} SVIDs"
