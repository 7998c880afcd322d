"""What policy is asked about a request, in the words of its input document (`policy.input`).

Enters: a request whose tool is the signed one. Leaves: the question; or, of what the server asks in turn, the
answer of policy. Pure.
"""

from dataclasses import replace
from datetime import datetime

from spiffe_mcp.manifest import Manifest, SignedTool, VerifiedManifest
from spiffe_mcp.mcp import Kind
from spiffe_mcp.mcp import Request as McpRequest
from spiffe_mcp.mesh.granted import Decided, Selected, action_of
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


def question_of(selected: Selected, environment: str, now: datetime) -> PolicyInput:
    """May this request be made? `environment`: the operator's name for where this is."""
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


def question_instead(
    selected: Selected, action: str, environment: str, now: datetime, *, resource: str | None = None
) -> PolicyInput:
    """As if its caller had asked `action`, about `resource` if one is given, in place of its own."""
    return replace(
        question_of(selected, environment, now),
        action=action,
        tool=None,
        tools=tool_inputs(selected) if action == "tools/list" else None,
        arguments=None,
        resource=resource,
        prompt=None,
    )


def tool_inputs(selected: Selected) -> tuple[ToolInput, ...]:
    """Every tool that a list could show."""
    return tuple(_tool_input(tool, selected.manifest) for tool in selected.live.exposed.values())


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
