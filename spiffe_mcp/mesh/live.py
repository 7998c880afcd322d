"""Live connections, both sides: looked at again when something changes, and ended when their time is over.

A handshake proves who is at the other end at one moment. What it was proved by changes: bundles lose an
authority, this agent its identity, a list of peers an entry; and certificates expire. So every connection
stands here for as long as it lives:

 - a change makes `run` verify each chain again, with the newest bundles, and authorise its ID again. Whoever
   would be refused now is cut at once, whatever runs;
 - the clock makes `run` drain a connection for the last part of its life, and end it at its end.

A handshake that is under way at a change is judged when it completes, by `verifier`, by what is newest then;
and a connection is entered here in the same turn of the loop, so that no change falls in between.

The work of one change is bounded: each distinct chain is verified once, in slices between which the loop
turns.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from spiffe_mcp.audit import Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, verify_chain
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.observer import Observer
from spiffe_mcp.tls import Authorization, Drain, Lifetime, Peer, verify_peer

MAX_LIFETIME: Final = timedelta(hours=1)
# The clock is looked at, rather than slept towards: setting it, or suspending the machine, moves no timer.
TICK: Final = 0.25  # seconds
SLICE: Final = 32  # chains verified before the loop turns: some 10 ms

Verdict: TypeAlias = Refused | None
_DRAIN: Final = {Side.INGRESS: Drain.SERVER, Side.EGRESS: Drain.CLIENT}
# Before their time is over rather than after it; and the ingress first, for it knows whether a stream has had
# its answer, and tells who waits. An egress that ended first could only cut.
_EARLIER: Final = {Side.INGRESS: timedelta(seconds=3 * TICK), Side.EGRESS: timedelta(seconds=TICK)}


class Connection(Protocol):
    """What can be done to a live connection."""

    def drain(self) -> None:
        """Let the exchange that runs, or the one that comes, be the last."""

    def end(self, refused: Refused) -> None:
        """Its time is over: tell whoever waits for an answer, and close."""

    def cut(self, refused: Refused) -> None:
        """Its peer may not be here: end it now, and record why."""


@dataclass(eq=False, slots=True)
class Entry:
    """One live connection."""

    side: Side
    peer: Peer
    allowed: Authorization
    lifetime: Lifetime
    connection: Connection
    draining: bool = False


class LiveConnections:
    """The connections that were opened with one identity. `jitter` gives numbers from 0 to 1."""

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
        jitter: Callable[[], float],
        longest: timedelta = MAX_LIFETIME,
    ) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._observer = observer
        self._jitter = jitter
        self._longest = longest
        self._entries: dict[Entry, None] = {}  # in the order in which they were opened
        self._changed = asyncio.Event()
        snapshots.on_change(self.recheck)

    def __len__(self) -> int:
        return len(self._entries)

    def verifier(self, allowed: Authorization) -> Callable[[tuple[bytes, ...]], Peer]:
        """What judges a handshake when it completes: by the newest bundles, and `allowed` as it is then."""

        def verify(chain_der: tuple[bytes, ...]) -> Peer:
            now = self._clock()
            bundles = self._snapshots.current(now).identity.bundles
            return verify_peer(chain_der, bundles, allowed, now)

        return verify

    def opened(
        self, side: Side, peer: Peer, own_not_after: datetime, allowed: Authorization, connection: Connection
    ) -> Entry:
        """A handshake has completed; hand what this returns to `closed` when the connection is gone."""
        lifetime = Lifetime.of(
            self._clock(),
            own_not_after=own_not_after,
            peer_not_after=peer.not_after,
            longest=self._longest,
            drain=_DRAIN[side],
            jitter=self._jitter(),
        )
        entry = Entry(side, peer, allowed, lifetime, connection)
        self._entries[entry] = None
        return entry

    def closed(self, entry: Entry) -> None:
        """The connection is gone, by whoever's doing."""
        self._entries.pop(entry, None)

    def recheck(self) -> None:
        """Something has changed by which connections are judged."""
        self._changed.set()

    async def run(self) -> None:
        """Keep watch until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._changed.wait()
            if self._changed.is_set():
                self._changed.clear()
                await self._judge_all()
            self._watch_time()

    # -- a change -------------------------------------------------------------------------------------------

    async def _judge_all(self) -> None:
        # A further change during this pass is seen by the rest of it, and makes another pass for all.
        verdicts = _Verdicts()
        for entry in tuple(self._entries):
            if entry not in self._entries:
                continue
            refused = self._verdict(entry, verdicts)
            if refused is not None:
                self._cut(entry, refused)
            if verdicts.verified >= SLICE:
                verdicts.verified = 0
                await asyncio.sleep(0)

    def _verdict(self, entry: Entry, verdicts: "_Verdicts") -> Verdict:
        now = self._clock()
        try:
            bundles = self._snapshots.current(now).identity.bundles
            verdicts.check(entry.peer.chain_der, bundles, now)
            entry.allowed.authorize(entry.peer.spiffe_id)
        except Refused as refused:
            return refused
        return None

    def _cut(self, entry: Entry, refused: Refused) -> None:
        self.closed(entry)
        self._observer.cut(entry.side, refused)
        entry.connection.cut(refused)

    # -- time -----------------------------------------------------------------------------------------------

    def _watch_time(self) -> None:
        now = self._clock()
        for entry in tuple(self._entries):
            then = now + _EARLIER[entry.side]
            if then >= entry.lifetime.end:
                self.closed(entry)
                entry.connection.end(Refused(Reason.TLS_LIFETIME))
            elif not entry.draining and then >= entry.lifetime.drain_at:
                entry.draining = True
                entry.connection.drain()


class _Verdicts:
    """What was found of each chain, for as long as the bundles are the same."""

    def __init__(self) -> None:
        self.verified = 0
        self._bundles: BundleSet | None = None
        self._of: dict[tuple[bytes, ...], Verdict] = {}

    def check(self, chain_der: tuple[bytes, ...], bundles: BundleSet, now: datetime) -> None:
        """Return if `chain_der` is good; raises `Refused`."""
        if bundles is not self._bundles:
            self._bundles, self._of = bundles, {}
        if chain_der not in self._of:
            self.verified += 1
            self._of[chain_der] = _verdict(chain_der, bundles, now)
        if (refused := self._of[chain_der]) is not None:
            raise Refused(refused.reason, refused.detail)


def _verdict(chain_der: tuple[bytes, ...], bundles: BundleSet, now: datetime) -> Verdict:
    try:
        verify_chain(chain_der, bundles, now)
    except Refused as refused:
        return refused
    return None
