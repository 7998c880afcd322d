"""What of an MCP server's answer a caller may see.

Enters: the permit of the call, and the head of the answer. Leaves: the filter that its body goes through. A
list of tools shows the signed copies of those tools that are still what was signed and that policy shows to
this caller; what a client might keep is its own, and for a minute at most (`mcp.caching`); everything else
passes as it came, if it is the answer to this call and nothing else (`mcp.AnswerFilter`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from spiffe_mcp.http import ResponseHead
from spiffe_mcp.manifest import LiveView, compare
from spiffe_mcp.mcp import (
    AnswerFilter,
    Call,
    CallJudge,
    Response,
    Rewrite,
    caching,
    parse_tool_list,
    rewrite_tool_list,
)
from spiffe_mcp.mcp.answer_filter import NothingFilter
from spiffe_mcp.mcp.tools import tool_name
from spiffe_mcp.mesh import relay
from spiffe_mcp.mesh.ingress import Permit
from spiffe_mcp.mesh.memory import Memory
from spiffe_mcp.strict_json import JsonObject

MAX_TTL_MS: Final = 60_000  # how long a client may keep anything

# Told of every page of live tools that goes by, held against the manifest.
Observer: TypeAlias = Callable[[LiveView], None]


@dataclass(frozen=True, slots=True)
class Behind:
    """What an answer is judged by beside its call, and what it may change: of the server that gives it."""

    memory: Memory
    observe: Observer
    now: datetime


def filter_for(permit: Permit, head: ResponseHead, behind: Behind) -> relay.Filter:
    """The filter of the answer to `permit`; raises `Refused` for a type of content that is no answer."""
    call = permit.authenticated.inbound.call
    if call is None:
        return relay.Nothing()  # a session's end is answered without a body worth reading
    judge = CallJudge(call, _rewrite(call, permit, behind.observe))
    if call.id is None:
        return NothingFilter(judge)
    return AnswerFilter.of(relay.content_type(head.headers), judge)


def _rewrite(call: Call, permit: Permit, observe: Observer) -> Rewrite | None:
    """What becomes of the response to `call`; None if it passes as it came."""
    if call.action == "tools/list":
        return lambda answer: _listed(answer, call, permit, observe)
    if call.action in caching.CACHED:
        return lambda answer: caching.kept_private(answer, max_ttl_ms=MAX_TTL_MS)
    return None


def _listed(answer: Response, call: Call, permit: Permit, observe: Observer) -> bytes:
    manifest = permit.decided.selected.manifest.manifest
    tools = parse_tool_list(answer.result).tools if answer.result is not None else ()
    page = compare(manifest, tools, protocol_version=call.revision.version or "")
    observe(page)
    shown = page.exposed.keys() & permit.decided.visible.keys()
    offered: dict[str, JsonObject] = {name: dict(page.exposed[name].definition) for name in shown}
    return rewrite_tool_list(answer, lambda tool: _signed(offered, tool), max_ttl_ms=MAX_TTL_MS)


def _signed(offered: Mapping[str, JsonObject], tool: JsonObject) -> JsonObject | None:
    return offered.get(tool_name(tool) or "")
