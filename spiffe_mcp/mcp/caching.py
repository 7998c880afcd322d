"""What a client may keep of an answer, and for whom: one caller's answer is that caller's own.

Whether a caller may ask is decided each time it asks, for it alone; what is listed may differ from what its
neighbour is shown. "Caches MUST NOT be shared across authorization contexts" holds for a scope of `private`
(2026-07-28 server/utilities/caching "Cache Scope Field"), and a server behind the mesh cannot know whom the
mesh let in: so whatever it says, the scope is `private`. What was granted may be taken back; so nothing is
fresh for longer than the mesh lets it be, nor for longer than its server does.

Enters: a result, or the response that holds it. Leaves: what has to be said otherwise. Pure: must not know
who called.
"""

import json
from typing import Final

from spiffe_mcp.mcp.json_splice import spliced
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import Response
from spiffe_mcp.strict_json import JsonObject, JsonValue

SCOPE: Final = "cacheScope"
TTL: Final = "ttlMs"

# 2026-07-28 server/utilities/caching "Cacheable Results".
CACHED: Final = frozenset(
    {
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)

_KEYS: Final = ExactKeys(frozenset({SCOPE, TTL}))


def kept_private(answer: Response, *, max_ttl_ms: int) -> bytes:
    """`answer`, no byte changed but what it says of keeping it; an error passes as it came.

    Raises `Refused(MCP_ANSWER_MALFORMED)`.
    """
    if answer.result is None:
        return answer.raw
    changes = own(answer.result, max_ttl_ms=max_ttl_ms)
    written = {key: json.dumps(value).encode() for key, value in changes.items()}
    return spliced(answer.raw, "result", written) if written else answer.raw


def own(result: JsonObject, *, max_ttl_ms: int) -> JsonObject:
    """The members of `result` that have to be others, so that it is one caller's own.

    `max_ttl_ms`: for how long anything may be kept, in milliseconds. A result that says nothing of keeping it
    is stale at once (ibid. "Time-to-Live (TTL) Field"), and nothing is added to it. Raises
    `Refused(MCP_ANSWER_MALFORMED)` for another spelling of a member.
    """
    _KEYS.check_answered(result)
    if SCOPE not in result and TTL not in result:
        return {}
    changes: JsonObject = {} if result.get(SCOPE) == "private" else {SCOPE: "private"}
    if TTL in result and (ttl := _lifetime(result[TTL], max_ttl_ms)) is not None:
        changes[TTL] = ttl
    return changes


def _lifetime(ttl: JsonValue, max_ttl_ms: int) -> int | None:
    """The lifetime to say in place of `ttl`; None if that may stand."""
    # Fail closed: a lifetime that cannot be read is none.
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or ttl < 0:
        return 0
    return max_ttl_ms if ttl > max_ttl_ms else None
