"""What the audit record of an exchange says: the mesh's values in, the fields of a `Draft` out.

A phase that has granted something is noted at once, so that the record of a later refusal says all that was
known by then. What is noted of parameters is decided in `audit`: names and types, and no values.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from time import perf_counter
from types import TracebackType
from typing import Final

from spiffe_mcp.audit import (
    AuditSink,
    Caller,
    Draft,
    Kind,
    Outcome,
    Parameters,
    Ruling,
    Side,
    Target,
    Verdict,
    recorded,
)
from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest import LiveView
from spiffe_mcp.mcp import Call, Era
from spiffe_mcp.mcp import Kind as SubjectKind
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.egress import OutboundCall
from spiffe_mcp.mesh.granted import Authenticated, Decided, Inbound, Selected, action_of
from spiffe_mcp.mesh.reading import Asked
from spiffe_mcp.mesh.routes import EgressRoute
from spiffe_mcp.policy import PolicyEngine
from spiffe_mcp.tls import Peer

ID_BYTES: Final = 16  # of randomness, in the names of an exchange, its transaction and its link
_SENT: Final = Ruling(verdict=Verdict.ALLOW)

HANDSHAKE_RECORDS: Final = 10  # refused handshakes recorded in a second; the rest are counted


def draft(side: Side, now: datetime) -> Draft:
    """An empty record of an exchange that begins now."""
    return Draft(time=now, exchange=token_hex(ID_BYTES), side=side)


class timed:  # noqa: N801  read where it is used: `with timed(record, "answer")`
    """Note how long the inside took, in milliseconds, however it ends."""

    __slots__ = ("_phase", "_record", "_started")

    def __init__(self, record: Draft, phase: str) -> None:
        self._record = record
        self._phase = phase

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record.durations_ms[self._phase] = (perf_counter() - self._started) * 1000


def address(peername: object) -> str:
    """A socket's peer as text: `host:port`, `[v6]:port`, empty for a Unix socket."""
    match peername:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return ""


# -- ingress ------------------------------------------------------------------------------------------------


def note_inbound(record: Draft, inbound: Inbound, shown: frozenset[str]) -> None:
    """What was asked for."""
    _note_asked(record, inbound.asked, shown)


def note_authenticated(record: Draft, authenticated: Authenticated) -> None:
    """Who asked, for whom."""
    context = authenticated.context
    record.txn = context.txn
    record.caller = record.caller._replace(
        caller=str(context.caller),
        chain=tuple(map(str, context.chain)),
        user=context.user.sub,
        user_iss=context.user.sub_iss,
    )


def note_selected(record: Draft, selected: Selected) -> None:
    """Which tool, as its publisher signed it."""
    manifest = selected.manifest.manifest
    record.target = record.target._replace(
        server=str(manifest.server),
        manifest_serial=manifest.serial,
        tool=selected.tool.name if selected.tool is not None else record.target.tool,
        tool_digest=selected.tool.digest if selected.tool is not None else "",
    )


def note_decided(record: Draft, decided: Decided, policy: PolicyEngine) -> None:
    """What policy said, in its own words."""
    decision = decided.decision
    record.ruling = Ruling(
        verdict=Verdict.ALLOW if decision.allow else Verdict.REFUSE,
        rule=decision.rule,
        policy_version=policy.version,
        policy_digest=policy.digest,
        justification=decision.reason,
    )


def note_withheld(record: Draft, view: LiveView) -> None:
    """Which tools of a live list were not shown because they are not what was signed."""
    record.withheld = {name: reason.code for name, reason in view.hidden.items()}


def note_declined(record: Draft, declined: Declined) -> None:
    """Which question of the server was not delivered; of each method, the last."""
    record.withheld = {**record.withheld, declined.method: declined.refused.reason.code}


# -- egress -------------------------------------------------------------------------------------------------


def note_outbound(record: Draft, asked: Asked, route: EgressRoute, user: User, shown: frozenset[str]) -> None:
    """What was asked for, of whom, for which user."""
    _note_asked(record, asked, shown)
    record.target = record.target._replace(server=str(route.server))
    record.caller = record.caller._replace(user=user.sub, user_iss=user.sub_iss)


def note_passed_over(record: Draft, passed_over: Mapping[Address, Reason]) -> None:
    """At which addresses of the server it was tried before: that somebody else answers there must show."""
    record.passed_over = {str(address): reason.code for address, reason in passed_over.items()}


def note_sent(record: Draft, call: OutboundCall) -> None:
    """In whose name it goes out, and to whom."""
    record.txn = call.txn
    record.target = record.target._replace(server=str(call.server))
    record.caller = record.caller._replace(caller=str(call.snapshot.spiffe_id))
    record.ruling = _SENT


def _note_asked(record: Draft, asked: Asked, shown: frozenset[str]) -> None:
    record.target = _target(asked)
    if not isinstance(asked, Call):
        return
    if asked.era is Era.LEGACY:
        # "Disconnection SHOULD NOT be interpreted as the client cancelling its request" (2025-11-25
        # basic/transports); in 2026-07-28 it MUST be.
        record.abandoned = Outcome.DISCONNECTED
    if asked.arguments is not None:
        record.parameters = Parameters.redacted(asked.arguments, asked.raw, shown)


def _target(call: Asked) -> Target:
    action = action_of(call)
    # A task's ID is no word for a log: "a server MAY use task IDs as bearer tokens" (tasks, "Security
    # Considerations"). Its tool is noted when that is known.
    if not isinstance(call, Call) or call.kind in {SubjectKind.NONE, SubjectKind.TASK}:
        return Target(action)
    name = call.name or ""
    if call.kind is SubjectKind.TOOL:
        return Target(action, tool=name)
    return Target(action, prompt=name) if call.kind is SubjectKind.PROMPT else Target(action, resource=name)


# -- refused handshakes -------------------------------------------------------------------------------------


class HandshakeRecords:
    """Records of refused handshakes, bounded in rate: a flood must not fill the log, and is counted."""

    def __init__(self, log: AuditSink, side: Side = Side.INGRESS) -> None:
        self._log = log
        self._side = side
        self._second = datetime.min.replace(tzinfo=UTC)
        self._written = 0
        self._left_out = 0

    def refused(self, peername: object, refused: Refused, now: datetime, peer: Peer | None = None) -> None:
        """Record one, of a `peer` that had been let in before; raises `Refused(AUDIT_UNAVAILABLE)`."""
        if abs(now - self._second) >= timedelta(seconds=1):  # a clock set back begins anew too
            self._second, self._written = now, 0
        if self._written >= HANDSHAKE_RECORDS:
            self._left_out += 1
            return
        self._written += 1
        record = draft(self._side, now)
        named = str(peer.spiffe_id) if peer is not None else ""
        record.kind, record.caller = Kind.AUTHENTICATION, Caller(address(peername), peer=named)
        gap = f"; {self._left_out} more were not recorded" if self._left_out else ""
        self._left_out = 0
        with recorded(self._log, record):
            record.refuse(Refused(refused.reason, f"{refused.detail}{gap}"))
