"""Every method a client may call through the mesh, era by era: an allow-list, and what each acts upon.

A method that is not in these tables is refused in its era, whether MCP knows it or not. 2026-07-28 has no
client notifications over HTTP: a client cancels by closing the stream.

This module knows names and parameters, not who calls nor what a policy says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.strict_json import JsonObject

MAX_NAME_LENGTH: Final = 4096  # characters of a tool's or prompt's name, a resource's URI or a task's ID


class Kind(Enum):
    """What a method acts upon."""

    NONE = "none"
    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Subject:
    """What one call acts upon. `name` is a name, a URI or a task's ID; None exactly for `Kind.NONE`."""

    kind: Kind
    name: str | None = None
    arguments: JsonObject | None = None

    def __post_init__(self) -> None:
        if (self.kind is Kind.NONE) != (self.name is None):
            raise Refused(Reason.MCP_PARAMS_MALFORMED, "a subject has a kind and a name")
        if self.name is not None and not 0 < len(self.name) <= MAX_NAME_LENGTH:
            raise Refused(Reason.MCP_PARAMS_MALFORMED, f"a name of {len(self.name)} characters")


Reader: TypeAlias = Callable[[JsonObject], Subject]

_NOTHING: Final = Subject(Kind.NONE)
_REFERENCE: Final = ExactKeys(frozenset({"type", "name", "uri"}))


def subject_of_request(era: Era, method: str, params: JsonObject | None) -> Subject:
    """What the request acts upon; raises `Refused`: `MCP_METHOD_UNKNOWN`, `MCP_PARAMS_MALFORMED`.

    A notification's method with an ID is `MCP_NOTIFICATION_WITH_ID`.
    """
    read = REQUESTS[era].get(method)
    if read is not None:
        return read(params or {})
    if method in NOTIFICATIONS[era]:
        raise Refused(Reason.MCP_NOTIFICATION_WITH_ID, method)
    raise Refused(Reason.MCP_METHOD_UNKNOWN, ascii(method))


def subject_of_notification(era: Era, method: str) -> Subject:
    """What the notification acts upon: nothing. Raises `Refused(MCP_METHOD_UNKNOWN)`.

    A request's method without an ID is `MCP_REQUEST_WITHOUT_ID`: no server may execute what it cannot answer.
    """
    if method in NOTIFICATIONS[era]:
        return _NOTHING
    if method in REQUESTS[era]:
        raise Refused(Reason.MCP_REQUEST_WITHOUT_ID, method)
    raise Refused(Reason.MCP_METHOD_UNKNOWN, ascii(method))


def _nothing(_params: JsonObject) -> Subject:
    return _NOTHING


def _tool(params: JsonObject) -> Subject:
    return Subject(Kind.TOOL, _text(params, "name"), _arguments(params))


def _prompt(params: JsonObject) -> Subject:
    return Subject(Kind.PROMPT, _text(params, "name"), _arguments(params))


def _resource(params: JsonObject) -> Subject:
    return Subject(Kind.RESOURCE, _text(params, "uri"))


def _task(params: JsonObject) -> Subject:
    return Subject(Kind.TASK, _text(params, "taskId"))


def _completed(params: JsonObject) -> Subject:
    """What is being completed (server/utilities/completion "Reference types")."""
    reference = params.get("ref")
    if not isinstance(reference, dict):
        raise Refused(Reason.MCP_PARAMS_MALFORMED, "ref is not an object")
    _REFERENCE.check(reference)
    if reference.get("type") == "ref/prompt":
        return Subject(Kind.PROMPT, _text(reference, "name"))
    if reference.get("type") == "ref/resource":
        return Subject(Kind.RESOURCE, _text(reference, "uri"))
    raise Refused(Reason.MCP_PARAMS_MALFORMED, "unknown type of ref")


def _text(params: JsonObject, key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str):
        raise Refused(Reason.MCP_PARAMS_MALFORMED, f"{key} is not a string")
    return value


def _arguments(params: JsonObject) -> JsonObject | None:
    if "arguments" not in params:
        return None
    arguments = params["arguments"]
    if not isinstance(arguments, dict):
        raise Refused(Reason.MCP_PARAMS_MALFORMED, "arguments is not an object")
    return arguments


_BOTH_ERAS: Final[Mapping[str, Reader]] = {
    "tools/list": _nothing,
    "tools/call": _tool,
    "prompts/list": _nothing,
    "prompts/get": _prompt,
    "resources/list": _nothing,
    "resources/templates/list": _nothing,
    "resources/read": _resource,
    "completion/complete": _completed,
    "tasks/get": _task,
    "tasks/cancel": _task,
}

REQUESTS: Final[Mapping[Era, Mapping[str, Reader]]] = {
    Era.MODERN: {
        **_BOTH_ERAS,
        "server/discover": _nothing,
        "subscriptions/listen": _nothing,  # what it names is read in `subscriptions`
        "tasks/update": _task,
    },
    Era.LEGACY: {
        **_BOTH_ERAS,
        "initialize": _nothing,
        "logging/setLevel": _nothing,
        "ping": _nothing,
        "resources/subscribe": _resource,
        "resources/unsubscribe": _resource,
        "tasks/list": _nothing,
        "tasks/result": _task,
    },
}

NOTIFICATIONS: Final[Mapping[Era, frozenset[str]]] = {
    Era.MODERN: frozenset(),
    Era.LEGACY: frozenset(
        {
            "notifications/initialized",
            "notifications/cancelled",
            "notifications/progress",
            "notifications/roots/list_changed",
        }
    ),
}
