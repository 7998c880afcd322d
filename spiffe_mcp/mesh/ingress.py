"""Ingress, the decision: a peer's request in, the call that may reach the MCP server out.

Pure: the listener does the I/O. Five phases; each takes what the one before it granted, so that none can be
left out and none can come too early. Every phase either grants or raises `Refused` with its own reason.

 `read`          1. only listed headers are read; exactly one user context
                 2. the body is parsed strictly, the era decided
 `authenticate`  3. the context holds for this peer, this audience, this request, now; and was not seen before
                 4. a legacy session is one that this caller opened for this user, a task one that it made; in
                    the session, an answer of the client's is to a question that waits, an event was sent
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
from dataclasses import replace
from datetime import datetime
from typing import Final

from spiffe_mcp.context import InboundHop, verify
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.manifest import LiveView, SignedTool, VerifiedManifest
from spiffe_mcp.mcp import Call, Era, ExactKeys, Kind, param_headers, versions_from
from spiffe_mcp.mcp.capabilities import NOTHING
from spiffe_mcp.mcp.notifications import CHANGES
from spiffe_mcp.mcp.subscriptions import Subscription
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.granted import (
    Authenticated,
    Decided,
    Hidden,
    Inbound,
    ListeningRefused,
    Permit,
    PolicyRefused,
    Selected,
    action_of,
    owner_of,
)
from spiffe_mcp.mesh.hop_binding import hop_binding
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.mesh.policy_question import question_instead, question_of, tool_inputs
from spiffe_mcp.mesh.reading import Asked, ClientAnswer, Listening, check_method, read_body
from spiffe_mcp.mesh.replays import Owed
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.tasks import Maker
from spiffe_mcp.policy import (
    PolicyEngine,
    PolicyInput,
)
from spiffe_mcp.recent import Recent
from spiffe_mcp.strict_json import JsonObject
from spiffe_mcp.tables import digest
from spiffe_mcp.tls import Peer

# What a signed schema declares follows from the tool's digest alone.
_DECLARED: Final[Recent[str, param_headers.Declared]] = Recent(4096)


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
        inbound=inbound,
        context=context,
        session=session,
        declared=declared,
        made_by=made_by,
        owed=_owed(inbound.asked, session, memory, now),
        wanted=_wanted(call, Maker(owner_of(context), session), memory, now) if call is not None else None,
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
        visible = _visible(selected, question, policy)
    if decision.allow and _resumes_list(selected.authenticated):
        # A list that is sent again is one that is asked for again.
        listing = replace(question, action="tools/list", tools=tool_inputs(selected))
        visible = _visible(selected, listing, policy) if policy.decide(listing).allow else {}
    subscription = _permitted(selected, policy, environment, now) if decision.allow else None
    return Decided.granted(selected=selected, decision=decision, visible=visible, subscription=subscription)


def _visible(selected: Selected, listing: PolicyInput, policy: PolicyEngine) -> Mapping[str, SignedTool]:
    names = policy.visible_tools(listing)
    return {name: tool for name, tool in selected.live.exposed.items() if name in names}


def _resumes_list(authenticated: Authenticated) -> bool:
    return authenticated.owed is not None and authenticated.owed.action == "tools/list"


def check_still(
    permit: Permit,
    *,
    manifest: VerifiedManifest,
    policy: PolicyEngine,
    environment: str,
    memory: Memory,
    now: datetime,
) -> None:
    """Return if a stream that was permitted would be permitted now; raises `Refused`.

    `manifest` may be a newer one than the one it began by. In a legacy session that keeps the session in use.
    """
    before, authenticated = permit.decided.selected, permit.authenticated
    manifest.check_in_force(now)
    selected = Selected.granted(
        authenticated=authenticated,
        manifest=manifest,
        live=before.live,
        tool=before.tool and _still_signed(before.tool, manifest),
    )
    if authenticated.session is not None:
        memory.sessions.check(authenticated.session, authenticated.owner, now)
    decision = policy.decide(question_of(selected, environment, now))
    if not decision.allow:
        raise PolicyRefused(decision)


def _still_signed(tool: SignedTool, manifest: VerifiedManifest) -> SignedTool:
    """What `manifest` says of `tool`: the definition is the same, how it is rated may not be."""
    signed = manifest.manifest.tools.get(tool.name)
    if signed is None:
        raise Refused(Reason.MANIFEST_TOOL_UNSIGNED, tool.name)
    if signed.digest != tool.digest:
        raise Refused(Reason.MANIFEST_TOOL_CHANGED, tool.name)
    return signed


def permit(decided: Decided, route: IngressRoute) -> Permit:
    """Step 8. The bytes that were parsed are the bytes that go."""
    if not decided.decision.allow:
        listening = isinstance(decided.selected.authenticated.inbound.asked, Listening)
        raise (ListeningRefused if listening else PolicyRefused)(decided.decision)
    inbound = decided.selected.authenticated.inbound.request
    request = headers.forwarded(inbound, route.upstream.host, route.upstream.path.encode())
    return Permit.granted(request=request, decided=decided)


def _owed(asked: Asked, session: bytes | None, memory: Memory, now: datetime) -> Owed | None:
    if session is None or not isinstance(asked, Listening) or asked.after is None:
        return None
    return memory.replays.after(session, asked.after, now)


def _wanted(call: Call, maker: Maker, memory: Memory, now: datetime) -> Subscription | None:
    subscription = Subscription.of(call)
    for task in subscription.tasks if subscription is not None else ():
        memory.tasks.tool_of(task, maker, now)
    return subscription


def _permitted(
    selected: Selected, policy: PolicyEngine, environment: str, now: datetime
) -> Subscription | None:
    """What of a subscription may be told: of a list or a resource, to whom may have it."""
    wanted = selected.authenticated.wanted
    if wanted is None:
        return None

    def may(action: str, resource: str | None = None) -> bool:
        question = question_instead(selected, action, environment, now, resource=resource)
        return policy.decide(question).allow

    return wanted.narrowed(lambda told: may(CHANGES[told]), lambda uri: may("resources/read", uri))


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
