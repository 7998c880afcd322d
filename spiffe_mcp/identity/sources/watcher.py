"""The watcher behind every source of identity: it outlives what it watches, and holds the newest good state.

Enters: what an `Api` makes of one subscription, message by message, and how the subscription ended. Leaves:
the messages, to `held`, which keeps what is good of them. This module subscribes, and subscribes again: after
an outage within about a second, and, where it is told to, afresh every few seconds. It knows no API, no
address and no protobuf.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final, NoReturn, Protocol

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Ending, Rejected, SourceEvent
from spiffe_mcp.identity.sources.held import HeldIdentity, Message, NotIssued
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import Wanted

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 0.9  # so that an outage ends for us within a second of its end
REFRESH: Final = timedelta(seconds=9)  # an answer takes its time too, and keys have to be gone within ten
# For the first answer. SPIRE's `k8s` attestor may look for a new pod for half a minute; whoever is silent for
# longer has lost the subscription, and will not answer it.
ANSWER: Final = timedelta(seconds=60)

_RANDOM: Final = SystemRandom()


class Api(Protocol):
    """One way to ask for one workload's identity."""

    async def follow(self, take: Callable[[Message], None]) -> None:
        """Subscribe, and hand over each message until the stream ends.

        Raises `grpc.aio.AioRpcError` if it did not end well, and `Refused` if the keys may not be kept.
        """

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        """What the end of a stream with this status means; `detail` may stand in a log line."""


class Watcher:
    """An `IdentitySource` on an `Api`.

    `wanted`, `clock` and `on_event` are those of `HeldIdentity`. `refresh` is the longest time between two
    subscriptions; None lets one last as long as it will. `answer` is how long the first answer may take.
    """

    def __init__(
        self,
        api: Api,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
        refresh: timedelta | None,
        answer: timedelta = ANSWER,
    ) -> None:
        self._api = api
        self._answer = answer
        self._refresh = refresh
        self._held = HeldIdentity(wanted=wanted, clock=clock, on_event=on_event)

    @property
    def current(self) -> IdentityState | None:
        """The newest state; None before the first, and after the identity was withdrawn."""
        return self._held.feed.current

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one. A deadline is the caller's to set."""
        return await self._held.feed.wait_ready()

    def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""
        return self._held.feed.states()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises `Refused` if the request is called invalid: clients SHOULD NOT retry (Workload Endpoint
        section 6). Everything else is waited out.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_SubscriptionLostError),
            # Full jitter: the workloads of a node do not come back in step after their agent did.
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        )
        try:
            await retrying(self._follow)
        finally:
            self._held.let_go()

    # -- subscriptions --------------------------------------------------------------------------------------

    async def _follow(self) -> NoReturn:
        """Subscribe, and afresh whenever it is due, until the newest subscription ends.

        The older one goes on until the newer has its first answer, so that a refresh is not felt.
        """
        async with asyncio.TaskGroup() as tasks:
            older, newest = None, self._subscribed(tasks, None)
            while not await self._ends(newest):
                if newest.heard.answered.is_set():
                    older = newest
                    older.task.add_done_callback(self._older_has_ended)
                else:
                    newest.task.cancel()
                newest = self._subscribed(tasks, older)
            if older is not None:
                older.task.cancel()
        self._lose(newest.task.result())
        raise _SubscriptionLostError

    def _subscribed(self, tasks: asyncio.TaskGroup, older: "_Subscription | None") -> "_Subscription":
        heard = _Heard()

        def take(message: Message) -> None:
            heard.answered.set()
            if older is not None:
                older.task.cancel()
            if not heard.repeats(message):
                self._held.take(message)
                if isinstance(message, NotIssued) and self._held.in_doubt:
                    heard.doubted_or_over.set()

        task = tasks.create_task(self._ending(take))
        task.add_done_callback(lambda _: heard.over())
        return _Subscription(task, heard)

    async def _ending(self, take: Callable[[Message], None]) -> Ending:
        """Follow one subscription; returns how it ended."""
        try:
            await self._api.follow(take)
        except grpc.aio.AioRpcError as error:
            return self._api.ending(error.code(), printable(error.details()))
        except Refused as refused:
            return Denied(refused.reason, refused.detail)
        return self._api.ending(grpc.StatusCode.OK, "the stream was ended")

    async def _ends(self, newest: "_Subscription") -> bool:
        """Whether it has ended when the next one is due."""
        if not await _comes(newest.heard.answered, self._answer.total_seconds()):
            # Away, and no more than that: what was said last stays in force, and so does who still says it.
            outage = grpc.StatusCode.DEADLINE_EXCEEDED.name
            self._held.report(Disconnected(outage, f"no answer within {self._answer}"))
        elif await _comes(newest.heard.doubted_or_over, self._until_refresh()) and not newest.task.done():
            # One bundle may have put all workloads of the node in doubt.
            pause = _RANDOM.uniform(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            await asyncio.wait({newest.task}, timeout=pause)
        return newest.task.done()

    def _older_has_ended(self, task: asyncio.Task[Ending]) -> None:
        """A refusal counts, whoever says it: the newer one may never be answered. Fail closed."""
        if not task.cancelled() and task.exception() is None and isinstance(denied := task.result(), Denied):
            self._held.deny(denied)

    def _until_refresh(self) -> float | None:
        if self._refresh is None:
            return None
        longest = self._refresh.total_seconds()
        return _RANDOM.uniform(longest / 2, longest)  # the workloads of a node do not ask in step

    def _lose(self, ending: Ending) -> None:
        """React to the end of the newest subscription. An outage leaves the last state in force."""
        if isinstance(ending, Rejected):
            self._held.reject(ending)
            raise Refused(ending.reason, ending.detail)
        if isinstance(ending, Denied):
            self._held.deny(ending)
        else:
            self._held.report(ending)


class _SubscriptionLostError(Exception):
    """The newest subscription is gone, for a reason that has been reported and that may pass."""


@dataclass(slots=True)
class _Heard:
    """What one subscription has said."""

    answered: asyncio.Event = field(default_factory=asyncio.Event)  # well or not
    doubted_or_over: asyncio.Event = field(default_factory=asyncio.Event)
    _last: Message | None = None

    def repeats(self, message: Message) -> bool:
        """Whether it says once more that there is no SVID, which is no second opinion."""
        last, self._last = self._last, message
        return message == last == NotIssued()

    def over(self) -> None:
        """It will say nothing more."""
        self.answered.set()
        self.doubted_or_over.set()


@dataclass(frozen=True, slots=True)
class _Subscription:
    """A subscription that is followed."""

    task: asyncio.Task[Ending]
    heard: _Heard


async def _comes(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def printable(detail: str | None) -> str:
    """What the other side says, as it may stand in a log line: bounded, control characters escaped."""
    return ascii((detail or "")[:200])
