"""What the audit record of an exchange says: the mesh's values in, the fields of a `Draft` out.

A phase that has granted something is noted at once, so that the record of a later refusal says all that was
known by then. What is noted of parameters is decided in `audit`: names and types, and no values.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final
from uuid import uuid4

from spiffe_mcp.audit import (
    AuditSink,
    Caller,
    Draft,
    Kind,
    Parameters,
    Ruling,
    Side,
    Target,
    Verdict,
    recorded,
)
from spiffe_mcp.context import User
from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import LiveView
from spiffe_mcp.mcp import Call
from spiffe_mcp.mcp import Kind as SubjectKind
from spiffe_mcp.mesh.egress import OutboundCall
from spiffe_mcp.mesh.ingress import Authenticated, Decided, Inbound, Selected, action_of
from spiffe_mcp.mesh.routes import EgressRoute
from spiffe_mcp.policy import PolicyEngine
from spiffe_mcp.tls import Peer

HANDSHAKE_RECORDS: Final = 10  # refused handshakes recorded in a second; the rest are counted


def draft(side: Side, now: datetime) -> Draft:
    """An empty record of an exchange that begins now."""
    return Draft(time=now, exchange=str(uuid4()), side=side)


@contextmanager
def timed(record: Draft, phase: str) -> Iterator[None]:
    """Note how long the inside took, in milliseconds, however it ends."""
    started = perf_counter()
    try:
        yield
    finally:
        record.durations_ms = {**record.durations_ms, phase: (perf_counter() - started) * 1000}


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
    _note_call(record, inbound.call, shown)


def note_authenticated(record: Draft, authenticated: Authenticated) -> None:
    """Who asked, for whom."""
    context = authenticated.context
    record.txn = context.txn
    record.caller = replace(
        record.caller,
        caller=str(context.caller),
        chain=tuple(map(str, context.chain)),
        user=context.user.sub,
        user_iss=context.user.sub_iss,
    )


def note_selected(record: Draft, selected: Selected) -> None:
    """Which tool, as its publisher signed it."""
    manifest = selected.manifest.manifest
    record.target = replace(record.target, server=str(manifest.server), manifest_serial=manifest.serial)
    if selected.tool is not None:
        record.target = replace(record.target, tool_digest=selected.tool.digest)


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


# -- egress -------------------------------------------------------------------------------------------------


def note_outbound(
    record: Draft, call: Call | None, route: EgressRoute, user: User, shown: frozenset[str]
) -> None:
    """What was asked for, of whom, for which user."""
    _note_call(record, call, shown)
    record.target = replace(record.target, server=str(route.server))
    record.caller = replace(record.caller, user=user.sub, user_iss=user.sub_iss)


def note_sent(record: Draft, call: OutboundCall) -> None:
    """In whose name it goes out, and to whom."""
    record.txn = call.txn
    record.target = replace(record.target, server=str(call.server))
    record.caller = replace(record.caller, caller=str(call.snapshot.spiffe_id))
    record.ruling = Ruling(verdict=Verdict.ALLOW)


def _note_call(record: Draft, call: Call | None, shown: frozenset[str]) -> None:
    record.target = Target(action=action_of(call))
    if call is None:
        return
    match call.kind:
        case SubjectKind.TOOL:
            record.target = replace(record.target, tool=call.name or "")
        case SubjectKind.PROMPT:
            record.target = replace(record.target, prompt=call.name or "")
        case SubjectKind.RESOURCE:
            record.target = replace(record.target, resource=call.name or "")
    if call.arguments is not None:
        record.parameters = Parameters.redacted(call.arguments, call.raw, shown)


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
