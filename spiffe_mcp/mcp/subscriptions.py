"""What a client asks to be told by `subscriptions/listen`, and what of the stream is that.

"The server MUST NOT send notification types the client has not explicitly requested", "MUST send
`notifications/subscriptions/acknowledged` as the first message", and everything on the stream carries the ID
of the request (2026-07-28 basic/patterns/subscriptions). An intermediary that believed the server in that
would pass whatever it sends.

    Subscription        what is asked for: each flag, resource and task; narrowed to what is permitted
    OfASubscription     of what a server says unasked, what was asked for here
    SubscriptionJudge   the stream: the acknowledgement, then what passes of the rest, and perhaps an end

Pure: who may be told what is decided elsewhere.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import Call
from spiffe_mcp.mcp.era import META
from spiffe_mcp.mcp.json_splice import spliced
from spiffe_mcp.mcp.judge import WITHHELD, Unasked, same_id
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import MessageId, Notification, Request, Response
from spiffe_mcp.mcp.methods import MAX_NAME_LENGTH
from spiffe_mcp.strict_json import JsonObject, JsonValue

METHOD: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
RESOURCE_UPDATED: Final = "notifications/resources/updated"
TASK: Final = "notifications/tasks"  # of the tasks extension
ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
MAX_NAMED: Final = 64  # resources, and tasks: policy is asked about each

_FLAGS: Final[Mapping[str, str]] = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_WANTED: Final = "notifications"
_RESOURCES: Final = "resourceSubscriptions"
_TASKS: Final = "taskIds"
_FILTER: Final = ExactKeys(frozenset({*_FLAGS, _RESOURCES, _TASKS}))


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription: which lists' changes, of which resources and tasks."""

    id: MessageId
    lists: frozenset[str]  # methods of notifications
    resources: tuple[str, ...]
    tasks: tuple[str, ...]

    @classmethod
    def of(cls, call: Call) -> Self | None:
        """What `call` asks for; None if it asks for something else.

        Raises `Refused`: `MCP_PARAMS_MALFORMED`, `MCP_KEY_CASE`. Members that are not known here are the
        server's to understand: what they would bring does not pass.
        """
        if call.action != METHOD or call.id is None:
            return None
        wanted = (call.message.params or {}).get(_WANTED)
        if not isinstance(wanted, dict):
            raise Refused(Reason.MCP_PARAMS_MALFORMED, "notifications is not an object")
        _FILTER.check(wanted)
        flags = {name: wanted.get(name, False) for name in _FLAGS}
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise Refused(Reason.MCP_PARAMS_MALFORMED, "a flag of notifications is not a boolean")
        lists = frozenset(_FLAGS[name] for name, flag in flags.items() if flag)
        return cls(call.id, lists, _names(wanted, _RESOURCES), _names(wanted, _TASKS))

    def narrowed(self, may_list: Callable[[str], bool], may_read: Callable[[str], bool]) -> Self:
        """What of it is permitted: by the method of a notification, and by a resource's URI."""
        lists = frozenset(filter(may_list, self.lists))
        return replace(self, lists=lists, resources=tuple(filter(may_read, self.resources)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be told."""
        return not (self.lists or self.resources or self.tasks)

    def includes(self, notification: Notification) -> bool:
        """Whether `notification`, after the acknowledgement, is one of those asked for."""
        if not self._names_this(notification):
            return False
        params = notification.params or {}
        if notification.method == RESOURCE_UPDATED:
            uri = params.get("uri")
            return isinstance(uri, str) and any(_within(uri, resource) for resource in self.resources)
        if notification.method == TASK:
            return params.get("taskId") in self.tasks
        return notification.method in self.lists

    def acknowledged_by(self, notification: Notification) -> bool:
        """Whether `notification` is the acknowledgement of this one."""
        return notification.method == ACKNOWLEDGED and self._names_this(notification)

    def as_acknowledged(self, notification: Notification) -> bytes:
        """The acknowledgement, with no promise in it of what will not pass; unchanged if there is none.

        Raises `Refused(MCP_ANSWER_MALFORMED)`.
        """
        promised = (notification.params or {}).get(_WANTED, {})
        if not isinstance(promised, dict):
            raise Refused(Reason.MCP_ANSWER_MALFORMED, "notifications is not an object")
        _FILTER.check_answered(promised)
        kept = {member: self._kept(member, value) for member, value in promised.items()}
        if kept == promised:
            return notification.raw
        return spliced(notification.raw, "params", {_WANTED: json.dumps(kept).encode()})

    def _kept(self, member: str, value: JsonValue) -> JsonValue:
        if member in _FLAGS:
            return value is True and _FLAGS[member] in self.lists
        known = {_RESOURCES: self.resources, _TASKS: self.tasks}.get(member)
        if known is None or not isinstance(value, list):
            return value if known is None else []
        return [name for name in value if name in known]

    def _names_this(self, notification: Notification) -> bool:
        meta = (notification.params or {}).get(META)
        named = meta.get(ID_KEY) if isinstance(meta, dict) else None
        return isinstance(named, str | int) and same_id(named, self.id)


class OfASubscription:
    """What a server may say in the stream of one subscription."""

    __slots__ = ("_subscription",)

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def notification(self, notification: Notification) -> bytes:
        """What was asked for passes."""
        return notification.raw if self._subscription.includes(notification) else WITHHELD

    def request(self, request: Request) -> bytes:
        """None passes: 2026-07-28 has none."""
        raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, ascii(request.method))


class SubscriptionJudge:
    """Judges the stream of one subscription.

    `answered` from the acknowledgement on: a stream that ends then ends the subscription, and is no answer
    that is missed ("the client ... re-subscribes"). `check` says whether the response may be one.
    """

    __slots__ = ("_check", "_subscription", "_unasked", "answered")

    def __init__(
        self, subscription: Subscription, check: Callable[[Response], bytes], unasked: Unasked
    ) -> None:
        self._subscription = subscription
        self._check = check
        self._unasked = unasked
        self.answered = False

    def response(self, response: Response) -> bytes:
        """What `check` makes of it: it ends the subscription, or refuses it."""
        self.answered = True
        return self._check(response)

    def notification(self, notification: Notification) -> bytes:
        """The acknowledgement, once and first; then what `unasked` lets pass."""
        if self._subscription.acknowledged_by(notification) and not self.answered:
            self.answered = True
            return self._subscription.as_acknowledged(notification)
        passed = self._unasked.notification(notification)
        return passed if self.answered else WITHHELD

    def request(self, request: Request) -> bytes:
        """See `Unasked`."""
        return self._unasked.request(request)

    def identified(self, event_id: bytes) -> None:
        """2026-07-28 goes on with no stream."""

    def ended(self) -> None:
        """Before the acknowledgement that is no end."""
        if not self.answered:
            raise Refused(Reason.MCP_ANSWER_MISSING)


def _names(wanted: JsonObject, member: str) -> tuple[str, ...]:
    value: JsonValue = wanted.get(member, [])
    if not isinstance(value, list) or len(value) > MAX_NAMED:
        raise Refused(Reason.MCP_PARAMS_MALFORMED, f"{member} is not an array of at most {MAX_NAMED}")
    names = tuple(name for name in value if isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH)
    if len(names) != len(value):
        raise Refused(Reason.MCP_PARAMS_MALFORMED, f"{member} has what names nothing")
    return names


def _within(uri: str, resource: str) -> bool:
    """The resource itself, or a sub-resource ("This might be a sub-resource", schema.ts)."""
    return uri == resource or uri.startswith(resource if resource.endswith("/") else f"{resource}/")
