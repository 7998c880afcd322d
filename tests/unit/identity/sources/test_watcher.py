"""The watcher on a scripted API: how subscriptions follow each other, and what is said of what happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources import held, watcher
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Ending,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.sources.held import Message, NotIssued
from spiffe_mcp.identity.sources.watcher import Watcher
from spiffe_mcp.identity.update import SvidPart, Update
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes.mini_ca import NOW, MiniCa
from tests.fakes.watch import PATIENCE, Clock, Watch

CA = MiniCa("a.test")
SOON = timedelta(milliseconds=20)
PROMPTLY = timedelta(milliseconds=200)  # a test that answers does so at once


def update(path: str = "/w", *, federated: dict[str, bytes] | None = None, **deviations: object) -> Update:
    chain, key = CA.issue_der(path, **deviations)
    part = SvidPart(f"spiffe://a.test{path}", b"".join(chain), key, b"".join(CA.bundle_der))
    return Update((part,), federated or {})


@dataclass
class Subscription:
    """One subscription as the source made it: the test answers it and ends it."""

    take: Callable[[Message], None]
    ended: asyncio.Future[None]

    def fail(self, code: grpc.StatusCode) -> None:
        none = grpc.aio.Metadata()
        self.ended.set_exception(grpc.aio.AioRpcError(code, none, none, details="said\n"))


@dataclass
class ScriptedApi:
    """An API whose every subscription waits for the test."""

    subscriptions: list[Subscription] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, take: Callable[[Message], None]) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.subscriptions.append(Subscription(take, ended))
        self._changed(1)
        try:
            await ended
        finally:
            self._changed(-1)

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return Rejected(Reason.BROKER_REJECTED, detail)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return Denied(Reason.BROKER_DENIED, detail)
        return Disconnected(code.name, detail)

    async def nth(self, number: int) -> Subscription:
        await self.until(lambda: len(self.subscriptions) >= number)
        return self.subscriptions[number - 1]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self._news.wait()

    def _changed(self, opened: int) -> None:
        self.open += opened
        self.most_open = max(self.open, self.most_open)
        self._news.set()
        self._news = asyncio.Event()


def watching(api: ScriptedApi, refresh: timedelta | None = None, answer: timedelta = watcher.ANSWER) -> Watch:
    def made(hear: Callable[[SourceEvent], None]) -> Watcher:
        time, wanted = Clock(NOW), FirstOffered()
        return Watcher(api, wanted=wanted, clock=time, on_event=hear, refresh=refresh, answer=answer)

    return Watch(made)


@asynccontextmanager
async def watched(
    api: ScriptedApi, refresh: timedelta | None = None, answer: timedelta = watcher.ANSWER
) -> AsyncIterator[Watch]:
    async with watching(api, refresh, answer).running() as watch:
        yield watch


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ScriptedApi:
    """Asked again at once when it is in doubt."""
    monkeypatch.setattr(watcher, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(watcher, "LONGEST_PAUSE_SECONDS", SOON.total_seconds())
    return ScriptedApi()


async def test_a_subscription_lasts_as_long_as_it_will_where_none_is_due() -> None:
    api = ScriptedApi()
    async with watched(api) as watch:
        (await api.nth(1)).take(update())
        await watch.updated()
        await asyncio.sleep(0)
        assert len(api.subscriptions) == 1


async def test_a_refresh_is_not_felt() -> None:
    """The older subscription ends when the newer is answered, and the same answer changes nothing."""
    api, same = ScriptedApi(), update()
    async with watched(api, SOON) as watch:
        (await api.nth(1)).take(same)
        state = await watch.updated()
        for number in range(2, 6):
            newest = await api.nth(number)
            assert api.open == 2
            newest.take(same)
            await api.until(lambda: api.open == 1)
        assert watch.current is state
        assert watch.said == [Updated(state)]
        assert api.most_open == 2


async def test_a_subscription_that_is_slow_to_be_answered_is_not_overtaken() -> None:
    api = ScriptedApi()
    async with watched(api, SOON) as watch:
        first = await api.nth(1)
        first.take(update("/old"))
        await watch.updated()
        slow = await api.nth(2)
        first.take(update("/new"))  # meanwhile the older one is followed
        assert (await watch.updated()).svid.spiffe_id.path == "/new"
        await asyncio.sleep(2 * SOON.total_seconds())  # what must not happen has no event
        assert len(api.subscriptions) == 2
        slow.take(update("/newest"))
        assert (await watch.updated()).svid.spiffe_id.path == "/newest"
        await api.nth(3)


async def test_an_older_subscription_says_nothing_once_the_newer_is_answered() -> None:
    api = ScriptedApi()
    async with watched(api, SOON) as watch:
        first = await api.nth(1)
        first.take(update())
        await watch.updated()
        second = await api.nth(2)
        second.take(NotIssued())
        await watch.next(Denied)
        await api.until(first.ended.cancelled)


async def test_an_empty_list_counts_when_a_fresh_subscription_says_it_too(api: ScriptedApi) -> None:
    async with watched(api) as watch:
        first = await api.nth(1)
        first.take(update())
        state = await watch.updated()
        first.take(NotIssued())
        first.take(NotIssued())  # the same again is no second opinion
        second = await api.nth(2)
        assert watch.current is state
        second.take(NotIssued())
        assert watch.current is None
        assert watch.said == [Updated(state), Denied(Reason.SVID_NOT_ISSUED, "no SVID for the workload")]


async def test_an_empty_list_is_forgotten_when_the_svid_comes_whoever_brings_it(api: ScriptedApi) -> None:
    """SPIRE, while it replaces tainted SVIDs: the fresh subscription is not answered before all are there."""
    async with watched(api) as watch:
        first = await api.nth(1)
        first.take(update())
        state = await watch.updated()
        first.take(NotIssued())
        second = await api.nth(2)
        first.take(update("/renewed"))
        assert watch.current is not state
        renewed = watch.current
        first.take(NotIssued())
        second.take(update("/again"))
        assert watch.current is not renewed
        await api.until(lambda: api.open == 1)


async def test_an_empty_list_counts_if_nobody_says_anything_more(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(held._SECONDS_TO_RETURN, Reason.SVID_NOT_ISSUED, SOON.total_seconds())
    async with watched(api) as watch:
        first = await api.nth(1)
        first.take(update())
        await watch.updated()
        first.take(NotIssued())
        await watch.withdrawn()


async def test_an_empty_list_that_takes_nothing_away_is_no_cause_to_ask(api: ScriptedApi) -> None:
    """A node has many processes that nobody has registered."""
    async with watched(api) as watch:
        (await api.nth(1)).take(NotIssued())
        await watch.next(Denied)
        await asyncio.sleep(0.05)  # what must not happen has no event
        assert len(api.subscriptions) == 1


async def test_a_subscription_that_is_never_answered_is_an_outage_and_another_is_made(
    api: ScriptedApi,
) -> None:
    async with watched(api, answer=PROMPTLY) as watch:
        hung = await api.nth(1)
        assert (await watch.next(Disconnected)).code == "DEADLINE_EXCEEDED"
        await api.nth(2)
        assert hung.ended.cancelled()
        await api.nth(4)
        await api.until(lambda: api.open == 1)
        assert [type(event) for event in watch.said] == [Disconnected], "an outage is told once"
        api.subscriptions[-1].take(update())
        await watch.first(Updated)
        assert [type(event) for event in watch.said] == [Disconnected, Reconnected, Updated]


async def test_a_refresh_that_is_never_answered_leaves_the_older_subscription_in_force(
    api: ScriptedApi,
) -> None:
    async with watched(api, SOON, answer=PROMPTLY) as watch:
        first = await api.nth(1)
        first.take(update("/old"))
        state = await watch.updated()
        await api.nth(4)
        await api.until(lambda: api.open == 2)  # those that hang are given up, one by one
        assert watch.current is state
        first.take(update("/new"))
        assert watch.current is not state
        api.subscriptions[-1].take(update("/newest"))
        await api.until(first.ended.cancelled)


async def test_a_refusal_of_the_older_subscription_counts_though_the_newer_is_never_answered(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(held._SECONDS_TO_RETURN, Reason.BROKER_DENIED, SOON.total_seconds())
    async with watched(api, SOON) as watch:
        first = await api.nth(1)
        first.take(update())
        await watch.updated()
        await api.nth(2)
        first.fail(grpc.StatusCode.PERMISSION_DENIED)
        assert (await watch.next(Denied)).reason is Reason.BROKER_DENIED
        await watch.withdrawn()


async def test_a_source_that_answers_and_is_silent_then_is_left_alone(
    api: ScriptedApi,
) -> None:
    """A Workload API may have nothing to say for as long as an SVID is good."""
    async with watched(api, answer=PROMPTLY) as watch:
        (await api.nth(1)).take(update())
        state = await watch.updated()
        await asyncio.sleep(2 * PROMPTLY.total_seconds())  # what must not happen has no event
        assert watch.said == [Updated(state)]
        assert len(api.subscriptions) == 1


@pytest.mark.parametrize(
    ("code", "kept"), [(grpc.StatusCode.PERMISSION_DENIED, False), (grpc.StatusCode.UNAVAILABLE, True)]
)
async def test_what_a_fresh_subscription_is_told_counts_though_the_older_one_lives(
    code: grpc.StatusCode, kept: bool
) -> None:
    api = ScriptedApi()
    async with watched(api, SOON) as watch:
        first = await api.nth(1)
        first.take(update())
        state = await watch.updated()
        (await api.nth(2)).fail(code)
        await watch.next(Disconnected if kept else Denied)
        assert watch.current is state
        (await api.nth(3)).fail(code)  # said twice
        assert first.ended.cancelled()
        await api.nth(4)
        assert watch.current is (state if kept else None)


async def test_a_subscription_that_the_older_one_does_not_outlive_is_waited_for() -> None:
    api = ScriptedApi()
    async with watched(api, SOON) as watch:
        first = await api.nth(1)
        first.take(update())
        await watch.updated()
        newer = await api.nth(2)
        first.fail(grpc.StatusCode.UNAVAILABLE)
        await api.until(lambda: api.open == 1)
        newer.take(update("/x"))
        assert (await watch.updated()).svid.spiffe_id.path == "/x"


async def test_a_request_that_is_called_invalid_ends_the_source_and_drops_the_keys() -> None:
    api = ScriptedApi()
    watch = watching(api)
    running = asyncio.gather(watch.source.run(), return_exceptions=True)
    first = await api.nth(1)
    first.take(update())
    await watch.updated()
    first.fail(grpc.StatusCode.INVALID_ARGUMENT)
    (refused,) = await running
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.BROKER_REJECTED
    assert watch.said[-1] == Rejected(Reason.BROKER_REJECTED, "'said\\n'")
    assert watch.current is None


async def test_a_source_may_say_that_the_keys_may_not_be_kept() -> None:
    api = ScriptedApi()
    async with watched(api) as watch:
        first = await api.nth(1)
        first.take(update())
        await watch.updated()
        first.ended.set_exception(Refused(Reason.BROKER_NO_IDENTITY))
        assert (await watch.next(Denied)).reason is Reason.BROKER_NO_IDENTITY
        assert watch.current is None
        (await api.nth(2)).take(update())
        await watch.updated()


def test_what_the_other_side_says_is_bounded_and_cannot_break_a_line() -> None:
    assert watcher.printable("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(watcher.printable("x" * 10_000)) == 202
    assert watcher.printable(None) == "''"
