"""What a server may tell a client in the answer to a call: an allow-list for each era. Pure.

What is not on it is left out of the stream, and the stream goes on: a newer server tells newer things, which
a client that does not know them would ignore. So is a request that has lost its ID.
"""

from collections.abc import Mapping
from typing import Final

from spiffe_mcp.mcp.era import Era

_OF_A_CALL: Final = frozenset({"notifications/message", "notifications/progress"})

PASSED: Final[Mapping[Era, frozenset[str]]] = {
    # 2026-07-28 basic/patterns/subscriptions: everything else is told to those who subscribed to it.
    Era.MODERN: _OF_A_CALL,
    Era.LEGACY: _OF_A_CALL
    | {
        "notifications/cancelled",
        "notifications/elicitation/complete",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tasks/status",
        "notifications/tools/list_changed",
    },
}

# What a caller is told that the answer to would be another now.
CHANGES: Final[Mapping[str, str]] = {
    "notifications/prompts/list_changed": "prompts/list",
    "notifications/resources/list_changed": "resources/list",
    "notifications/resources/updated": "resources/read",
    "notifications/tools/list_changed": "tools/list",
}
