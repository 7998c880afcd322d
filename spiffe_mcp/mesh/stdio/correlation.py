"""Whose an answer is, where many callers speak to one process: requests out by numbers, answers back.

Every request goes out under a number that no other has, its progress token as well; what comes back under
that number goes to whoever asked, with the ID and the token that it was asked with, written as they were.
Two callers with the same IDs do not meet, and a server cannot answer what it was not asked.

What a server says of its own accord names no request. It is for the one that runs, if there is exactly one;
if there are several, whoever is guessed might be told what is another's: then it is nobody's. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final, Generic, TypeGuard, TypeVar

import orjson

from spiffe_mcp.mcp import Message, MessageId, Notification, Request, Response
from spiffe_mcp.mcp.era import META
from spiffe_mcp.mesh.stdio import members
from spiffe_mcp.mesh.stdio.members import Span
from spiffe_mcp.strict_json import JsonObject, JsonValue

W = TypeVar("W")

SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"  # 2026-07-28 basic/patterns/subscriptions
_TOKEN: Final = "progressToken"  # noqa: S105  of progress, no secret
_CANCELLED: Final = "notifications/cancelled"
_PROGRESS: Final = "notifications/progress"


@dataclass(frozen=True, slots=True)
class Running(Generic[W]):
    """A request that the process has, and owes an answer to `who`. What was replaced is kept as it was."""

    who: W
    message_id: MessageId
    raw_id: bytes
    raw_token: bytes | None


@dataclass(frozen=True, slots=True)
class Routed(Generic[W]):
    """A message of the process, for `who`; `is_last`: it is the answer."""

    who: W
    message: bytes
    is_last: bool


class Correlation(Generic[W]):
    """The requests that one process has."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._running: dict[int, Running[W]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[W]:
        return iter([running.who for running in self._running.values()])

    # -- to the process -------------------------------------------------------------------------------------

    def asked(self, request: Request, who: W) -> tuple[int, bytes]:
        """The number of `request`, which `who` waits for, and the request under that number."""
        number = next(self._numbers)
        here = str(number).encode()
        raw = request.raw
        identifier = _found(members.locate_id(raw))
        replacements = [(identifier, here)]
        # A token that is null or no scalar is none; it goes on as it is, and nothing comes back for it.
        token = members.locate(raw, "params", META, _TOKEN) if _is_token(_token(request.params)) else None
        if token is not None:
            replacements.append((token, here))
        self._running[number] = Running(
            who, request.id, identifier.of(raw), None if token is None else token.of(raw)
        )
        return number, members.replace(raw, replacements)

    def under(self, message_id: MessageId) -> list[W]:
        """Whose requests run that were asked under this ID."""
        found = self._running.values()
        return [running.who for running in found if _same(running.message_id, message_id)]

    def gone(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        self._running.pop(number, None)

    # -- from the process -----------------------------------------------------------------------------------

    def answered(self, response: Response) -> Routed[W] | None:
        """For whom `response` is; None if nobody waits for it."""
        number = response.id
        running = self._running.pop(number, None) if _is_number(number) else None
        if running is None:
            return None
        replacements = [(_found(members.locate_id(response.raw)), running.raw_id)]
        if _subscription(response.result) == number:
            place = _found(members.locate(response.raw, "result", META, SUBSCRIPTION))
            replacements.append((place, running.raw_id))
        return Routed(running.who, members.replace(response.raw, replacements), is_last=True)

    def noted(self, notification: Notification) -> Routed[W] | None:
        """For whom `notification` is, by what it names or because only one request runs; None: nobody."""
        params = notification.params
        if is_general(notification):
            return self.unrelated(notification.raw)
        if notification.method == _PROGRESS:
            return self._by(notification, (params or {}).get(_TOKEN), _TOKEN)
        return self._by(notification, _subscription(params), META, SUBSCRIPTION)

    def unrelated(self, raw: bytes) -> Routed[W] | None:
        """As `noted`, of what names nothing."""
        if len(self._running) != 1:
            return None
        (running,) = self._running.values()
        return Routed(running.who, raw, is_last=False)

    def _by(self, notification: Notification, number: JsonValue, *path: str) -> Routed[W] | None:
        running = self._running.get(number) if _is_number(number) else None
        if running is None:
            return None
        was = running.raw_token if path[-1] == _TOKEN else running.raw_id
        if was is None:
            return None
        place = _found(members.locate(notification.raw, "params", *path))
        return Routed(running.who, members.replace(notification.raw, [(place, was)]), is_last=False)


def is_general(message: Request | Notification) -> bool:
    """Whether a message of a server names no request that it is about."""
    return message.method != _PROGRESS and _subscription(message.params) is None


def cancelled(number: int) -> bytes:
    """`notifications/cancelled` for the request that runs under `number`."""
    return orjson.dumps({"jsonrpc": "2.0", "method": _CANCELLED, "params": {"requestId": number}})


def cancels(message: Message) -> MessageId | None:
    """The ID of the request that `message` cancels; None if it cancels none."""
    if not isinstance(message, Notification) or message.method != _CANCELLED:
        return None
    named = (message.params or {}).get("requestId")
    return named if isinstance(named, str) or _is_number(named) else None


def renamed(notification: Notification, number: int) -> bytes:
    """A `notifications/cancelled` that names the request by its number here."""
    place = _found(members.locate(notification.raw, "params", "requestId"))
    return members.replace(notification.raw, [(place, str(number).encode())])


def _found(span: Span | None) -> Span:
    """A member that the parser has seen, and so has to be there."""
    if span is None:
        raise RuntimeError("a member of a parsed message cannot be found")
    return span


def _token(params: JsonObject | None) -> JsonValue:
    meta = (params or {}).get(META)
    return meta.get(_TOKEN) if isinstance(meta, dict) else None


def _subscription(holder: JsonObject | None) -> JsonValue:
    meta = (holder or {}).get(META)
    return meta.get(SUBSCRIPTION) if isinstance(meta, dict) else None


def _same(one: MessageId, other: MessageId) -> bool:
    return type(one) is type(other) and one == other


def _is_token(value: JsonValue) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_number(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
