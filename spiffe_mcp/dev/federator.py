"""Following foreign bundles: each relationship is polled for as long as it lasts (SPIFFE Federation 6).

Enters: relationships, and answers of `bundle_client`. Leaves: bundles, published into the provider's feed
beside the name of their trust domain, from where the Workload API hands them on. Knows when to ask; not how
(`bundle_client`), nor what may be taken (`federation`).

An outage changes nothing: the last good bundle stays in force, and the endpoint is asked again, ever less
often, until the polling interval is reached (6.2). The end of a relationship ends its trust at once (6.3).
"""

import asyncio
import contextlib
import logging
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from spiffe_mcp.dev import bundle_client
from spiffe_mcp.dev.bundle_client import Clock
from spiffe_mcp.dev.federation import FederatesWith, Relationships, refresh_interval, superseding
from spiffe_mcp.dev.issuance import Issued
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import bundle_document
from spiffe_mcp.identity.sources.feed import Feed
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import TrustDomain

FIRST_PAUSE: Final = timedelta(seconds=0.5)  # after the first failure; doubled after each
# Before there is a bundle at all somebody waits: an operator, with a file to bring or a provider to start.
LONGEST_FIRST_WAIT: Final = timedelta(seconds=10)

_log: Final = logging.getLogger(__name__)


class Federator:
    """All relationships of one provider. What they bring goes into `feed`."""

    def __init__(self, relationships: Relationships, feed: Feed[Issued], clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._followers = {
            name: _Follower(relationship, feed, clock) for name, relationship in relationships.items()
        }
        self._running: dict[TrustDomain, asyncio.Task[NoReturn]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Follow every relationship until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name in self._followers:
                self._start(name)
            await asyncio.Event().wait()

    def federate(self, relationship: FederatesWith) -> None:
        """Begin a relationship, in place of one with the same trust domain."""
        self.end(relationship.trust_domain)
        self._followers[relationship.trust_domain] = _Follower(relationship, self._feed, self._clock)
        self._start(relationship.trust_domain)

    def end(self, trust_domain: TrustDomain) -> None:
        """Forget the bundle and ask no more (6.3). Nothing that is on its way is taken any longer."""
        if (task := self._running.pop(trust_domain, None)) is not None:
            task.cancel()
        self._followers.pop(trust_domain, None)
        if trust_domain in self._feed.newest.foreign:
            self._feed.publish(self._feed.newest.without(trust_domain))

    def refresh(self) -> None:
        """Ask all of them now, rather than when the interval is over."""
        for follower in self._followers.values():
            follower.wanted.set()

    def _start(self, trust_domain: TrustDomain) -> None:
        if self._tasks is not None:
            self._running[trust_domain] = self._tasks.create_task(self._followers[trust_domain].run())


class _Follower:
    """One relationship, for as long as it lasts."""

    def __init__(self, relationship: FederatesWith, feed: Feed[Issued], clock: Clock) -> None:
        self.wanted = asyncio.Event()
        self._relationship = relationship
        self._feed = feed
        self._clock = clock
        self._bootstrapped: bytes | None = None  # the operator's file, as it was taken last
        self._reported: str | None = None  # the failure that was reported last

    async def run(self) -> NoReturn:
        """Poll until cancelled; waits out every failure."""
        while True:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(Refused), wait=self._back_off, sleep=self._pause
            )
            await retrying(self._poll)
            await self._pause(refresh_interval(self._current).total_seconds())

    @property
    def _current(self) -> SpiffeBundle | None:
        return self._feed.newest.foreign.get(self._relationship.trust_domain)

    async def _poll(self) -> None:
        """Ask once, with the bundles of this moment; raises `Refused`, having reported it."""
        try:
            self._take_bootstrap()
            # The latest available bundle, the one that was fetched last included (5.2.2.4).
            fetched = await bundle_client.fetch(
                self._relationship, self._feed.newest.every_bundle, self._clock
            )
            self._publish(superseding(fetched, self._current))
        except Refused as refused:
            self._report(refused)
            raise
        # Who was asked, and what was learned, is evidence for later (7.6).
        _log.info("fetched the bundle of %s from %s", fetched.trust_domain, self._relationship.url)
        self._reported = None

    def _take_bootstrap(self) -> None:
        """Put the operator's file in force where it is new; without any bundle it has to be there."""
        if self._relationship.bootstrap is None:
            return
        try:
            document = _read(self._relationship.bootstrap)
            if document == self._bootstrapped:
                return
            bundle = SpiffeBundle.from_json(self._relationship.trust_domain, document)
        except Refused as refused:
            if self._current is None:
                raise
            self._report(refused)  # what is in force stays so
        else:
            self._bootstrapped = document
            self._publish(bundle)

    def _publish(self, bundle: SpiffeBundle) -> None:
        if bundle != self._current:
            _log.info(
                "bundle of %s: sequence %s, %d X.509 authorities, %d JWT keys",
                bundle.trust_domain,
                bundle.sequence,
                len(bundle.x509.authorities_der),
                len(bundle.jwt),
            )
            self._feed.publish(self._feed.newest.federating(bundle))

    def _report(self, refused: Refused) -> None:
        """Once an outage."""
        if str(refused) != self._reported:
            self._reported = str(refused)
            _log.warning("no new bundle of %s: %s", self._relationship.trust_domain, refused)

    def _back_off(self, state: RetryCallState) -> float:
        known = self._current is not None
        longest = refresh_interval(self._current) if known else LONGEST_FIRST_WAIT
        first = FIRST_PAUSE.total_seconds()
        growing = wait_exponential(multiplier=first, max=longest.total_seconds())
        return growing(state) + wait_random(0, first)(state)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless somebody wants the bundle now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wanted.wait()
        self.wanted.clear()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bundle_document.MAX_BYTES + 1)
    except OSError as error:
        raise Refused(Reason.FEDERATION_BOOTSTRAP, f"{path}: {error.strerror}") from None
