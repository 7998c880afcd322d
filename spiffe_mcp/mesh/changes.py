"""Changes that a server tells of: told to whom policy lets see what has changed, and taken to heart here.

"A client should not receive a change event" of what it cannot list: that something changes, and when, tells
of what is hidden. So a caller is told that a list has changed if it may have the list now, and that a
resource has if it may read it. It is policy's word of this moment, for a stream may be an old one.

And where a server says that its tools have changed, what it listed before is no longer believed: the ingress
asks again before the next call, so that a tool that is not as signed is closed at once, and not after
`recheck`. Pure; who is asked, and how, is in `policy_question` and `behind`.
"""

from spiffe_mcp.errors import Refused
from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mcp.judge import WITHHELD, Unasked
from spiffe_mcp.mcp.notifications import CHANGES
from spiffe_mcp.mesh.behind import Behind
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.mesh.policy_question import question_instead
from spiffe_mcp.policy import PolicyInput
from spiffe_mcp.strict_json import JsonValue


class OfVisible:
    """Of what a server says unasked, what is no news of anything that the caller may not see."""

    __slots__ = ("_behind", "_permit", "_unasked")

    def __init__(self, unasked: Unasked, permit: Permit, behind: Behind) -> None:
        self._unasked = unasked
        self._permit = permit
        self._behind = behind

    def notification(self, notification: Notification) -> bytes:
        """What `unasked` makes of it; nothing of a change that the caller may not see."""
        action = CHANGES.get(notification.method)
        if action is None:
            return self._unasked.notification(notification)
        if action == "tools/list":
            self._behind.changed()
        return self._unasked.notification(notification) if self._may(action, notification) else WITHHELD

    def request(self, request: Request) -> bytes:
        """What `unasked` makes of it."""
        return self._unasked.request(request)

    def _may(self, action: str, notification: Notification) -> bool:
        uri = (notification.params or {}).get("uri") if action == "resources/read" else None
        if action == "resources/read" and not isinstance(uri, str):
            return False  # fail closed: it is about a resource, and nobody can say about which
        try:
            return self._behind.policy.decide(self._question(action, uri)).allow
        except Refused:
            return False  # fail closed: a policy that could not answer has permitted nothing

    def _question(self, action: str, uri: JsonValue) -> PolicyInput:
        selected, behind = self._permit.decided.selected, self._behind
        resource = uri if isinstance(uri, str) else None
        return question_instead(selected, action, behind.environment, behind.clock(), resource=resource)
