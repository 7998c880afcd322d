"""The live connections of every identity of one agent: one registry each, made here and reached from here.

A workload's registry goes with the workload; nobody has to take it off a list.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import SystemRandom
from weakref import WeakSet

from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Observer


class Registries:
    """Makes a registry for each identity, and has all of them look again."""

    def __init__(self, clock: Callable[[], datetime], observer: Observer, longest: timedelta) -> None:
        self._clock = clock
        self._observer = observer
        self._longest = longest
        self._made: WeakSet[LiveConnections] = WeakSet()
        self._followed: WeakSet[Snapshots] = WeakSet()

    def __len__(self) -> int:
        """How many connections are live."""
        return sum(map(len, tuple(self._made)))

    def of(self, snapshots: Snapshots) -> LiveConnections:
        """The live connections of the identity that `snapshots` follows; they have to be run."""
        made = LiveConnections(
            snapshots,
            clock=self._clock,
            observer=self._observer,
            jitter=SystemRandom().random,
            longest=self._longest,
        )
        self._made.add(made)
        self._followed.add(snapshots)
        return made

    def identities(self, besides: Snapshots) -> Iterator[IdentityState]:
        """Every identity that is held, but for the one of `besides`."""
        for snapshots in tuple(self._followed):
            newest = snapshots.newest
            if newest is not None and snapshots is not besides:
                yield newest.identity

    def recheck(self) -> None:
        """Something has changed by which all connections are judged."""
        for made in tuple(self._made):
            made.recheck()
