"""The watcher behind every source of identity: it outlives what it watches, and holds the newest good state.

Enters: what an `Api` makes of one subscription, message by message, and how the subscription ended. Leaves:
`IdentityState`s through an `IdentityFeed`, and events. What a message is worth is decided by
`identity.update`, which is pure. This module subscribes, and subscribes again: after an outage within about a
second, and, where it is told to, afresh every few seconds. It knows no API, no address and no protobuf.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final, NoReturn, Protocol, TypeAlias

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Ending, Rejected, SourceEvent, Updated
from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, Update, apply
from spiffe_mcp.identity.wanted import Wanted

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 0.9  # so that an outage ends for us within a second of its end
JUDGE_AGAIN_SECONDS: Final = 1.0
REFRESH: Final = timedelta(seconds=9)  # an answer takes its time too, and keys have to be gone within ten

# While SPIRE replaces what a tainted authority signed, an SVID that is not there yet looks like one that is
# withdrawn: a workload is told of each of its SVIDs as it comes, and of a changed bundle even without any, by
# a refusal; whoever asks again gets no answer before all are there, which is within five seconds.
# So a refusal counts that is said twice, or that stays unanswered. For other reasons the keys go at once.
_SECONDS_TO_RETURN: Final = {
    Reason.SVID_NOT_OFFERED: 0.5,
    Reason.SVID_NOT_ISSUED: 0.5,
    Reason.WORKLOAD_API_DENIED: 8.0,
    Reason.BROKER_DENIED: 8.0,
    Reason.DELEGATED_DENIED: 8.0,
}
_OF_TIME: Final = frozenset({Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_NOT_YET_VALID})
_RANDOM: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class NotIssued:
    """The source knows the workload and has no SVID for it: not now, or not yet."""


Message: TypeAlias = Update | NotIssued | PartRefused


class Api(Protocol):
    """One way to ask for one workload's identity."""

    @property
    def rejected(self) -> Reason:
        """Why `run` ends after a `Rejected`."""

    async def follow(self, take: Callable[[Message], None]) -> None:
        """Subscribe, and hand over each message until the stream ends.

        Raises `grpc.aio.AioRpcError` if it did not end well, and `Refused` if the keys may not be kept.
        """

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        """What the end of a stream with this status means; `detail` may stand in a log line."""


class Watcher:
    """An `IdentitySource` on an `Api`.

    `wanted` says which of several SVIDs to take. `clock` gives the time at which a message is judged, aware.
    `on_event` is called for everything that an operator wants to know, once for as long as it lasts, and must
    not block. `refresh` is the longest time between two subscriptions; None lets one last as long as it will.
    """

    def __init__(
        self,
        api: Api,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
        refresh: timedelta | None,
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._clock = clock
        self._on_event = on_event
        self._refresh = refresh
        self._feed = IdentityFeed()
        self._trouble: Disconnected | Denied | None = None  # what was reported last, if it still lasts
        self._refused: frozenset[PartRefused] = frozenset()  # of the newest message
        self._judging: asyncio.TimerHandle | None = None
        self._withdrawing: asyncio.TimerHandle | None = None

    @property
    def current(self) -> IdentityState | None:
        """The newest state; None before the first, and after the identity was withdrawn."""
        return self._feed.current

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one. A deadline is the caller's to set."""
        return await self._feed.wait_ready()

    def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""
        return self._feed.states()

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
            self._judge_no_more()
            self._keep()

    # -- subscriptions --------------------------------------------------------------------------------------

    async def _follow(self) -> NoReturn:
        """Subscribe, and afresh whenever it is due, until the newest subscription ends.

        The older one goes on until the newer has its first answer, so that a refresh is not felt.
        """
        async with asyncio.TaskGroup() as tasks:
            older, newest = None, self._subscribed(tasks, None)
            while not await self._ends(newest):
                older, newest = newest, self._subscribed(tasks, newest)
            if older is not None:
                older.task.cancel()
        self._lose(newest.task.result())
        raise _SubscriptionLostError

    def _subscribed(self, tasks: asyncio.TaskGroup, older: "_Subscription | None") -> "_Subscription":
        answered = asyncio.Event()

        def take(message: Message) -> None:
            answered.set()
            if older is not None:
                older.task.cancel()
            self._take(message)

        task = tasks.create_task(self._ending(take))
        task.add_done_callback(lambda _: answered.set())
        return _Subscription(task, answered)

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
        """Whether it has ended when the next one is due. One that was never answered is not overtaken."""
        await newest.answered.wait()
        await asyncio.wait({newest.task}, timeout=self._until_refresh())
        return newest.task.done()

    def _until_refresh(self) -> float | None:
        if self._refresh is None:
            return None
        longest = self._refresh.total_seconds()
        return _RANDOM.uniform(longest / 2, longest)  # the workloads of a node do not ask in step

    def _lose(self, ending: Ending) -> None:
        """React to the end of the newest subscription. An outage leaves the last state in force."""
        if isinstance(ending, Rejected):
            self._withdraw()
            self._on_event(ending)
            raise Refused(self._api.rejected, ending.detail)
        if isinstance(ending, Denied):
            self._deny(ending)
        else:
            self._report(ending)

    # -- messages -------------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        """Put in force what is good of one message, and report what is not."""
        self._judge_no_more()
        if isinstance(message, Update):
            self._judge(message)
        elif isinstance(message, NotIssued):
            self._deny(Denied(Reason.SVID_NOT_ISSUED, "no SVID for the workload"))
        else:
            self._trouble = None
            self._refuse((message,))

    def _judge(self, update: Update) -> None:
        try:
            applied = apply(update, self.current, self._wanted, self._clock())
        except Refused as withdrawn:
            self._deny(Denied(withdrawn.reason, withdrawn.detail))
            return
        self._keep()
        self._trouble = None
        self._refuse(applied.refused)
        self._publish(applied.state)
        if any(part.reason in _OF_TIME for part in applied.refused):
            # Nobody sends it again because a clock, here or there, is put right.
            loop = asyncio.get_running_loop()
            self._judging = loop.call_later(JUDGE_AGAIN_SECONDS, self._judge, update)

    def _judge_no_more(self) -> None:
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None

    def _refuse(self, refused: tuple[PartRefused, ...]) -> None:
        """Report what of the newest message is refused, and was not in the one before."""
        for part in refused:
            if part not in self._refused:
                self._on_event(part)
        self._refused = frozenset(refused)

    def _publish(self, state: IdentityState | None) -> None:
        if state is not None and state != self.current:
            self._feed.publish(state)
            self._on_event(Updated(state))

    def _deny(self, denied: Denied) -> None:
        """Cease using the identity (Workload API section 5.2.1); if it may be a passing matter, not yet."""
        self._judge_no_more()
        self._refused = frozenset()
        patience = _SECONDS_TO_RETURN.get(denied.reason)
        if patience is None or self._withdrawing is not None:
            self._withdraw()
        elif self.current is not None:
            self._withdrawing = asyncio.get_running_loop().call_later(patience, self._withdraw)
        self._report(denied)

    def _withdraw(self) -> None:
        """Without an identity from now on. No earlier message brings it back."""
        self._judge_no_more()
        self._keep()
        self._refused = frozenset()
        if self.current is not None:
            self._feed.publish(None)

    def _keep(self) -> None:
        """Whatever was to be withdrawn is not."""
        if self._withdrawing is not None:
            self._withdrawing.cancel()
            self._withdrawing = None

    def _report(self, trouble: Disconnected | Denied) -> None:
        """Report what lasts, once."""
        if _kind(trouble) != _kind(self._trouble):
            self._trouble = trouble
            self._on_event(trouble)


class _SubscriptionLostError(Exception):
    """The newest subscription is gone, for a reason that has been reported and that may pass."""


@dataclass(frozen=True, slots=True)
class _Subscription:
    """A subscription that is followed, and whether the source has answered it, well or not."""

    task: asyncio.Task[Ending]
    answered: asyncio.Event


def _kind(trouble: Disconnected | Denied | None) -> object:
    """Two troubles of one kind are the same to an operator."""
    if isinstance(trouble, Disconnected):
        return trouble.code
    return trouble and trouble.reason


def printable(detail: str | None) -> str:
    """What the other side says, as it may stand in a log line: bounded, control characters escaped."""
    return ascii((detail or "")[:200])
