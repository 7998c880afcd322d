"""Ingress, the decision: a peer's request in, the call that may reach the MCP server out.

Pure: the listener does the I/O. Five phases; each takes what the one before it granted, so that none can be
left out and none can come too early. Every phase either grants or raises `Refused` with its own reason.

 `read`          1. only listed headers are read; exactly one user context
                 2. the body is parsed strictly, the era decided
 `authenticate`  3. the context holds for this peer, this audience, this request, now; and was not seen before
                 4. a legacy session is one that this caller opened for this user, a task one that it made, an
                    answer of the client's to a question that waits in its session
 `select`        5. the tool is in the verified manifest, and its live definition is the signed one; so is the
                    tool that made a task
 `decide`        6. the arguments satisfy the signed schema, in its spelling, and headers mirror them
                 7. policy is asked
 `permit`        8. it allowed the call: the bytes that were decided on, and no other, may be sent

Parsing comes before the context, because the context is bound to what the body says. The schema comes before
policy, so that rules about arguments meet only the types that were signed; but only a caller who may see the
tool is told that its arguments are wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from spiffe_mcp.context import InboundHop, VerifiedContext, verify
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.manifest import LiveView, Manifest, SignedTool, VerifiedManifest
from spiffe_mcp.mcp import Call, Era, ExactKeys, Kind, param_headers, versions_from
from spiffe_mcp.mcp import Request as McpRequest
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.hop_binding import hop_binding
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.mesh.reading import Asked, ClientAnswer, SessionEnd, check_method, read_body
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.tasks import Maker
from spiffe_mcp.permit import GrantedOnly
from spiffe_mcp.policy import (
    AgentInput,
    ContextInput,
    Decision,
    Direction,
    PolicyEngine,
    PolicyInput,
    ToolInput,
    UserInput,
)
from spiffe_mcp.recent import Recent
from spiffe_mcp.strict_json import JsonObject
from spiffe_mcp.tables import digest
from spiffe_mcp.tls import Peer

# What a signed schema declares follows from the tool's digest alone.
_DECLARED: Final[Recent[str, param_headers.Declared]] = Recent(4096)

# Our names for what is no call; no method of MCP is called so.
SESSION_END: Final = "session/end"
SESSION_ANSWER: Final = "session/answer"


@dataclass(frozen=True, slots=True)
class Inbound(metaclass=GrantedOnly):
    """A request that could be read."""

    request: Request
    asked: Asked
    header: bytes

    @property
    def call(self) -> Call | None:
        """The call that it is, if it is one."""
        return self.asked if isinstance(self.asked, Call) else None


@dataclass(frozen=True, slots=True)
class Authenticated(metaclass=GrantedOnly):
    """A request of which is known who sent it, for whom. `declared`: at the beginning of its session."""

    inbound: Inbound
    context: VerifiedContext
    session: bytes | None
    declared: Capability
    made_by: bytes | None = None  # of a request about a task, the tool that made it: see `mesh.tasks`

    @property
    def owner(self) -> Owner:
        """Whose sessions and tasks it may use."""
        return owner_of(self.context)

    @property
    def maker(self) -> Maker:
        """Whose the tasks are that it makes."""
        return Maker(self.owner, self.session)


@dataclass(frozen=True, slots=True)
class Selected(metaclass=GrantedOnly):
    """A request whose tool, if it names one, is the signed one."""

    authenticated: Authenticated
    manifest: VerifiedManifest
    live: LiveView
    tool: SignedTool | None


@dataclass(frozen=True, slots=True)
class Decided(metaclass=GrantedOnly):
    """A request about which policy has been asked; what it said may be a refusal."""

    selected: Selected
    decision: Decision
    visible: Mapping[str, SignedTool]  # for `tools/list`: what of the answer may be shown


@dataclass(frozen=True, slots=True)
class Permit(metaclass=GrantedOnly):
    """A request that may be sent to the MCP server behind this ingress."""

    request: Request
    decided: Decided

    @property
    def authenticated(self) -> Authenticated:
        """Who sent it."""
        return self.decided.selected.authenticated


def read(request: Request, minimum: Era = Era.LEGACY) -> Inbound:
    """Steps 1 and 2, for a server that speaks no era before `minimum`."""
    supported = versions_from(minimum)
    check_method(request, supported)
    # (1) RFC 9110 section 5.3: a field that may stand only once, and stands twice, has no value.
    contexts = values(request.headers, headers.USER_CONTEXT)
    if not contexts:
        raise Refused(Reason.CONTEXT_MISSING)
    if len(contexts) > 1:
        raise Refused(Reason.CONTEXT_MALFORMED, f"{len(contexts)} headers")
    # (2) The same rules as at egress: a peer is no more believed than a workload.
    return Inbound.granted(request=request, asked=read_body(request, supported), header=contexts[0])


def authenticate(
    inbound: Inbound, *, peer: Peer, snapshot: Snapshot, memory: Memory, now: datetime
) -> Authenticated:
    """Steps 3 and 4."""
    # (3) The bundles are this moment's, not the handshake's: a revoked authority signs no context.
    context = verify(
        inbound.header,
        hop=InboundHop(peer=peer.spiffe_id, leaf_der=peer.leaf_der, audience=snapshot.spiffe_id),
        binding=hop_binding(inbound.request, inbound.asked),
        signers=snapshot.signers,
        now=now,
    )
    memory.replay.check(context.issuer, context.jti, context.expires, now)
    # (4) A session ID that is not this owner's does not exist. Nor does a task's, nor another's question.
    session, call, made_by, declared = _session(inbound.request), inbound.call, None, NOTHING
    if session is not None:
        declared = memory.sessions.check(session, owner_of(context), now)
    elif call is None:
        raise Refused(Reason.SESSION_UNKNOWN, f"{action_of(inbound.asked)} without a session")
    if call is not None and call.kind is Kind.TASK:
        made_by = memory.tasks.tool_of(call.name or "", Maker(owner_of(context), session), now)
    if session is not None and isinstance(inbound.asked, ClientAnswer):
        memory.pending.answered(session, inbound.asked.id, now)
    return Authenticated.granted(
        inbound=inbound, context=context, session=session, declared=declared, made_by=made_by
    )


def select(
    authenticated: Authenticated, *, manifest: VerifiedManifest, live: LiveView, now: datetime
) -> Selected:
    """Step 5."""
    call = authenticated.inbound.call
    # (5) No manifest in force, no call: not even the ones that name no tool.
    manifest.check_in_force(now)
    tool = None
    if call is not None and call.kind is Kind.TOOL:
        tool = _exposed(call.name or "", live)
    if authenticated.made_by is not None:
        tool = _maker(authenticated.made_by, live)
    return Selected.granted(authenticated=authenticated, manifest=manifest, live=live, tool=tool)


def decide(selected: Selected, *, policy: PolicyEngine, environment: str, now: datetime) -> Decided:
    """Steps 6 and 7."""
    question = question_of(selected, environment, now)
    # (6) Absent arguments are none (MCP server/tools "Calling Tools"). What is asked about a task has none.
    if selected.tool is not None and selected.authenticated.made_by is None:
        try:
            _check_spelling(selected.tool, question.arguments or {})
            selected.tool.validate_arguments(question.arguments or {})
            _check_mirrored(selected.tool, selected.authenticated.inbound)
        except Refused as refused:
            raise _as_seen(refused, question, policy) from None
    # (7) Default deny: whatever is no clear permission is a refusal, see `policy.decision`.
    decision = policy.decide(question)
    visible: Mapping[str, SignedTool] = {}
    if decision.allow and question.tools is not None:
        names = policy.visible_tools(question)
        visible = {name: tool for name, tool in selected.live.exposed.items() if name in names}
    return Decided.granted(selected=selected, decision=decision, visible=visible)


def decide_asked(
    decided: Decided, request: McpRequest, *, policy: PolicyEngine, environment: str, now: datetime
) -> Decision:
    """What policy says of `request`, which the server makes of the client while it answers what was decided.

    The same question as that of the client, the other way round: its agent and user are those that would be
    asked, its arguments the parameters of the request.
    """
    question = question_of(decided.selected, environment, now)
    asked = replace(
        question,
        action=request.method,
        direction=Direction.SERVER_TO_CLIENT,
        arguments=request.params,
        tools=None,
        resource=None,
        prompt=None,
    )
    return policy.decide(asked)


def permit(decided: Decided, route: IngressRoute) -> Permit:
    """Step 8. The bytes that were parsed are the bytes that go."""
    if not decided.decision.allow:
        raise PolicyRefused(decided.decision)
    inbound = decided.selected.authenticated.inbound.request
    request = headers.forwarded(inbound, route.upstream.host, route.upstream.path.encode())
    return Permit.granted(request=request, decided=decided)


class Hidden(Refused):
    """A refusal that has to look as if the tool did not exist; the record knows better."""


class PolicyRefused(Refused):
    """A refusal by policy, with the decision that says so."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.refusal or Reason.POLICY_DENIED, decision.detail)
        self.decision = decision


def owner_of(context: VerifiedContext) -> Owner:
    """Whose sessions whoever sent `context` may use."""
    return Owner(context.issuer, context.caller, context.user.sub, context.user.sub_iss)


def action_of(asked: Asked) -> str:
    """What policy and audit call a request."""
    match asked:
        case Call():
            return asked.action
        case ClientAnswer():
            return SESSION_ANSWER
        case SessionEnd():
            return SESSION_END


def _session(request: Request) -> bytes | None:
    found = values(request.headers, headers.SESSION_ID)
    if len(found) > 1:
        raise Refused(Reason.SESSION_UNKNOWN, "several session IDs")
    return found[0] if found else None


def _exposed(name: str, live: LiveView) -> SignedTool:
    tool = live.exposed.get(name)
    if tool is None:
        # The audit record has the true reason; the caller sees one answer for all of them.
        raise Refused(live.hidden.get(name, Reason.MCP_TOOL_UNKNOWN), name)
    return tool


def _maker(made_by: bytes, live: LiveView) -> SignedTool:
    """The tool that made a task. What may not be called may not answer later either."""
    for tool in live.exposed.values():
        if digest(tool.name) == made_by:
            return tool
    raise Refused(Reason.MCP_TASK_UNKNOWN, "the tool that made it is not what was signed, or is no more")


def _check_spelling(tool: SignedTool, arguments: JsonObject) -> None:
    """Return if no argument is another spelling of a signed one; raises `Refused(MCP_KEY_CASE)`.

    A schema that admits further members admits `Path` beside `path`: policy reads the one, a server whose
    parser folds case (Go's) the other.
    """
    schema = tool.definition["inputSchema"]
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(properties, dict):
        ExactKeys(frozenset(properties)).check(arguments)


def _check_mirrored(tool: SignedTool, inbound: Inbound) -> None:
    """Return if the `Mcp-Param-*` headers say what the arguments say; raises `Refused`.

    Which there are is declared in the signed schema. Legacy calls have none that anybody reads.
    """
    call, schema = inbound.call, tool.definition["inputSchema"]
    if call is None or call.era is Era.LEGACY or not isinstance(schema, dict):
        return
    declared = _DECLARED.get(tool.digest)
    if declared is None:
        declared = _DECLARED.keep(tool.digest, param_headers.declared(schema))
    if declared:
        param_headers.check_mirrored(declared, call.arguments or {}, inbound.request.headers)


def _as_seen(refused: Refused, question: PolicyInput, policy: PolicyEngine) -> Refused:
    """`refused`, or the same hidden from a caller to whom policy would not list the tool."""
    if question.tool is None:
        return refused
    listing = replace(question, action="tools/list", tool=None, tools=(question.tool,), arguments=None)
    try:
        is_seen = question.tool.name in policy.visible_tools(listing)
    except Refused:
        is_seen = (
            False  # fail closed: a policy that could not answer would otherwise tell that the tool exists
        )
    return refused if is_seen else Hidden(refused.reason, refused.detail)


def question_of(selected: Selected, environment: str, now: datetime) -> PolicyInput:
    """What policy is asked about a request."""
    authenticated, manifest = selected.authenticated, selected.manifest
    call, context, user = authenticated.inbound.call, authenticated.context, authenticated.context.user
    claims = user.attributes()
    is_list = call is not None and call.action == "tools/list"
    return PolicyInput(
        action=action_of(authenticated.inbound.asked),
        server=str(manifest.manifest.server),
        agent=AgentInput(
            spiffe_id=str(context.caller),
            trust_domain=str(context.caller.trust_domain),
            path=context.caller.path,
            chain=tuple(map(str, context.chain)),
        ),
        now=now,
        user=UserInput(sub=user.sub, sub_iss=user.sub_iss, groups=user.groups, claims=claims),
        tool=_tool_input(selected.tool, manifest) if selected.tool is not None else None,
        tools=tool_inputs(selected) if is_list else None,
        arguments=call.arguments if call is not None else None,
        resource=call.name if call is not None and call.kind is Kind.RESOURCE else None,
        prompt=call.name if call is not None and call.kind is Kind.PROMPT else None,
        context=ContextInput(
            txn=context.txn,
            hops=len(context.chain),
            purpose=user.purpose,
            task=user.task,
            session=user.session,
            scope=context.scope,
        ),
        environment={"name": environment},
    )


def tool_inputs(selected: Selected) -> tuple[ToolInput, ...]:
    """Every tool that could be shown."""
    return tuple(_tool_input(tool, selected.manifest) for tool in selected.live.exposed.values())


def _tool_input(tool: SignedTool, manifest: VerifiedManifest) -> ToolInput:
    signed: Manifest = manifest.manifest
    return ToolInput(
        name=tool.name,
        digest=tool.digest,
        risk_level=tool.risk_level.value,
        requires_approval=tool.requires_approval,
        serial=signed.serial,
        signers=manifest.signers[tool.name],
    )
