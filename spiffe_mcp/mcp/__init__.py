"""JSON-RPC and MCP: messages, eras, server-sent events, list pages, error answers. Pure.

    a call:    parse(body) -> read_call(message, headers) -> Call, whose `raw` is what may be forwarded
    an answer: AnswerFilter.of(content_type, CallJudge(call, ...)), then feed(chunk) ... finish()
    a refusal: answer_for(refused, id, presumed_era(message)), or unknown_tool(name, id)

Modules, lowest first: `keys`, `message`, `headers`, `era`, `methods`, `call`; `answers`; `sse`,
`json_splice`, `caching`, `tools`, `capabilities`, `tasks`, `server_requests`, `results`, `notifications`,
`judge`, `subscriptions`, `answer_filter`; `inventory` (what the ingress itself asks an upstream);
`stdio` (lines, and no meaning).
"""

from spiffe_mcp.mcp.answer_filter import AnswerFilter
from spiffe_mcp.mcp.answers import Answer, answer_for, declined, unknown_tool
from spiffe_mcp.mcp.call import Call, has_sessions, read_call, read_response
from spiffe_mcp.mcp.era import (
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    SUPPORTED_VERSIONS,
    Era,
    Revision,
    presumed_era,
    versions_from,
)
from spiffe_mcp.mcp.judge import CallJudge, Judge, Rewrite, StreamJudge
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import Message, MessageId, Notification, Request, Response, parse
from spiffe_mcp.mcp.methods import Kind, Subject
from spiffe_mcp.mcp.tools import ToolListPage, parse_tool_list, rewrite_tool_list

__all__ = [
    "LEGACY_VERSIONS",
    "MODERN_VERSIONS",
    "SUPPORTED_VERSIONS",
    "Answer",
    "AnswerFilter",
    "Call",
    "CallJudge",
    "Era",
    "ExactKeys",
    "Judge",
    "Kind",
    "Message",
    "MessageId",
    "Notification",
    "Request",
    "Response",
    "Revision",
    "Rewrite",
    "StreamJudge",
    "Subject",
    "ToolListPage",
    "answer_for",
    "declined",
    "has_sessions",
    "parse",
    "parse_tool_list",
    "presumed_era",
    "read_call",
    "read_response",
    "rewrite_tool_list",
    "unknown_tool",
    "versions_from",
]
