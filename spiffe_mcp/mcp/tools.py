"""Pages of `tools/list`: an upstream's page in, the same page with only the tools a caller may see out.

What the model reads is the signed definition, never the live text. Everything else in the page stays:
order, cursor (opaque, even when empty), members nobody knows, the ID. Integers keep every digit; other
numbers keep their value as a double (RFC 7493 section 2.2), which is also what a digest is made over.

This module knows the page, not who signed a tool nor who may see it.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.caching import own
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import Response
from spiffe_mcp.strict_json import JsonObject, JsonValue

# The definition to offer in place of a live tool; None if it is not offered.
Keep: TypeAlias = Callable[[JsonObject], JsonObject | None]

_PAGE: Final = ExactKeys(frozenset({"_meta", "cacheScope", "nextCursor", "resultType", "tools", "ttlMs"}))
# orjson cannot write this: it stops at 64-bit integers.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class ToolListPage:
    """One page of live tools, each an object with a `name`; `unnamed` entries had none and are left out."""

    tools: tuple[JsonObject, ...]
    next_cursor: str | None
    unnamed: int = 0


def parse_tool_list(result: JsonObject) -> ToolListPage:
    """The page that `result` is (MCP server/tools "Listing Tools").

    Raises `Refused(MCP_TOOL_LIST_MALFORMED)`. One bad tool does not hide the others: an entry without a name
    is counted, not refused.
    """
    entries = _entries(result)
    cursor = result.get("nextCursor")
    if cursor is not None and not isinstance(cursor, str):
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, "nextCursor is not a string")
    named = tuple(entry for entry in entries if isinstance(entry, dict) and tool_name(entry) is not None)
    return ToolListPage(named, cursor, len(entries) - len(named))


def rewrite_tool_list(answer: Response, keep: Keep, *, max_ttl_ms: int) -> bytes:
    """`answer`, with only the tools that `keep` gives a definition for; an error answer stays as it came.

    A name that the page holds twice is offered no more: nobody can say which of the two would be called.
    `max_ttl_ms` bounds how long a client may hold the page. Raises `Refused(MCP_TOOL_LIST_MALFORMED)`.
    """
    if answer.result is None:
        return answer.raw
    result: JsonObject = {**answer.result, "tools": _kept(_entries(answer.result), keep)}
    result |= own(result, max_ttl_ms=max_ttl_ms)
    return encode({**answer.envelope, "result": result})


def encode(value: JsonValue) -> bytes:
    """The compact JSON of a strictly parsed value, integers of any size included."""
    return _ENCODER.encode(value).encode("utf-8")


def tool_name(tool: JsonObject) -> str | None:
    """The tool's name, if it has one."""
    name = tool.get("name")
    return name if isinstance(name, str) else None


def _entries(result: JsonObject) -> list[JsonValue]:
    try:
        _PAGE.check(result)
    except Refused as refused:
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, refused.detail) from refused
    # 2026-07-28 basic/patterns/mrtr: a list request is answered completely or not at all.
    if result.get("resultType", "complete") != "complete":
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, "not a complete result")
    entries = result.get("tools")
    if not isinstance(entries, list):
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, "tools is not an array")
    return entries


def _kept(entries: list[JsonValue], keep: Keep) -> list[JsonValue]:
    tools = [entry for entry in entries if isinstance(entry, dict)]
    times = Counter(map(tool_name, tools))
    offered = (keep(tool) for tool in tools if tool_name(tool) is not None and times[tool_name(tool)] == 1)
    return [definition for definition in offered if definition is not None]
