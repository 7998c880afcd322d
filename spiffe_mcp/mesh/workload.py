"""One local workload: its identity, its hops and its local connections, from its first call to its end.

Everything that is made with a workload's key hangs on this object and on nothing else: a source of its own,
snapshots of its own, hops of its own. So one workload cannot use another's, and when it is over nothing of it
is left to use. It is over, whichever comes first,

 1. when its process has ended (where an identity is a process's, and not a pod's);
 2. when its identity is withdrawn: a pod that was deleted, an entry that was, a right that was taken back;
 3. when nobody of it has been connected for a while.

By then its local connections are cut, and with them the calls that run on them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.pool import IdleRoom
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.capacity import IDLE
from spiffe_mcp.mesh.following import follow
from spiffe_mcp.mesh.hops import Destination, Hop, Hops
from spiffe_mcp.mesh.identity import Snapshots
from spiffe_mcp.mesh.live import LiveConnections
from spiffe_mcp.mesh.observer import Observer
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.workload.living import LivingSource
from spiffe_mcp.workload.process import Process

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkloadTimes:
    """How long a workload is waited for, and kept; in seconds."""

    first_identity: float = 5.0  # for a call that came before the first SVID
    idle: float = 60.0  # with nobody connected
    failed: float = 10.0  # after its source has given up, before it may be asked anew


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What the hops of each workload are made with.

    `live` makes what watches over those of one identity; `idle` hops are kept in each pool, and of all pools
    together as many as there is `room` for.
    """

    clock: Callable[[], datetime]
    observer: Observer
    live: Callable[[Snapshots], LiveConnections]
    idle: int = IDLE
    room: IdleRoom | None = None


class Workload:
    """One workload. `process` is the one whose end is its own, and this object's to let go of."""

    def __init__(
        self,
        source: IdentitySource,
        process: Process | None,
        *,
        made_with: MadeWith,
        times: WorkloadTimes,
        on_over: Callable[[Refused], None],
    ) -> None:
        self._source = source if process is None else LivingSource(source, process)
        self._process = process
        self._clock = made_with.clock
        self._times = times
        self._on_over = on_over
        self._snapshots = Snapshots(made_with.clock)
        self._live = made_with.live(self._snapshots)
        self._hops = Hops(self._live, made_with.observer, made_with.idle, made_with.room)
        self._connections: set[Callable[[], None]] = set()
        self._refused: Refused | None = None  # why nothing is done in its name any more
        self._timer: asyncio.TimerHandle | None = None
        self._running: list[asyncio.Task[None]] = []
        self._is_over = False
        self._expect_connections()

    # -- its identity ---------------------------------------------------------------------------------------

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Follow its identity from now on, until it is over."""
        following = tasks.create_task(self._follow())
        following.add_done_callback(self._let_go)
        self._running = [following, tasks.create_task(self._live.run())]

    def recheck(self) -> None:
        """Something has changed by which its hops are judged."""
        self._live.recheck()

    async def _follow(self) -> None:
        """Never raises but when cancelled: what is wrong with one workload is no affair of the others."""
        try:
            await follow(self._source, self._states(), self._snapshots)
        except Refused as refused:
            if refused.reason is Reason.WORKLOAD_EXITED:
                self.end(refused)
            else:
                self._fail(refused)
        except Exception:  # noqa: BLE001  a fault of ours must not take the other workloads with it
            _LOG.exception("the source of a workload's identity failed")
            self._fail(Refused(Reason.IDENTITY_UNAVAILABLE, "its source failed"))

    async def snapshot(self) -> Snapshot:
        """The identity now; waits a bounded time for the first one. Raises `Refused`."""
        self._check()
        try:
            async with asyncio.timeout(self._times.first_identity):
                await self._snapshots.first()
        except TimeoutError:
            pass  # `current` says so
        self._check()
        return self._snapshots.current(self._clock())

    async def lease(self, destination: Destination, snapshot: Snapshot) -> Hop:
        """One of its own hops, for a call by its own identity; raises `Refused`."""
        self._check()
        return await self._hops.lease(destination, snapshot)

    def holds(self) -> bool:
        """Whether it goes on; found out now, should its process have ended unnoticed."""
        if not self._is_over and self._process is not None and not self._process.alive():
            self.end(_ended(self._process))
        return not self._is_over

    def _check(self) -> None:
        """Return if something may be done in its name; raises `Refused`."""
        self.holds()
        if self._refused is not None:
            raise Refused(self._refused.reason, self._refused.detail)

    async def _states(self) -> AsyncIterator[IdentityState | None]:
        """What its source says, until it withdraws what it has given."""
        had = False
        async for state in self._source.states():
            if had and state is None:
                self.end(Refused(Reason.IDENTITY_UNAVAILABLE, "the identity was withdrawn"))
                return
            had = state is not None
            yield state

    def _fail(self, refused: Refused) -> None:
        """Its source has given up. Callers are told why for a while, then it may be asked anew."""
        if self._refused is None:
            self._refused = refused
            self._hops.close()
            self._set_timer(self._times.failed, refused)

    # -- its connections ------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nobody of it is connected."""
        return not self._connections

    def joined(self, cut: Callable[[], None]) -> None:
        """One more local connection; `cut` ends it."""
        self._connections.add(cut)
        if self._refused is None:
            self._set_timer(None)

    def left(self, cut: Callable[[], None]) -> None:
        """That connection has ended."""
        self._connections.discard(cut)
        self._expect_connections()

    def _expect_connections(self) -> None:
        if self.is_idle and self._refused is None:
            self._set_timer(self._times.idle, Refused(Reason.IDENTITY_UNAVAILABLE, "nobody is connected"))

    # -- its end --------------------------------------------------------------------------------------------

    def end(self, refused: Refused) -> None:
        """It is over, now, and again is no error: nothing can be done in its name any more."""
        if self._is_over:
            return
        self._is_over = True
        self._refused = refused
        self._set_timer(None)
        for task in self._running:
            task.cancel()
        if all(task.done() for task in self._running[:1]):  # who follows; else when that has ended
            self._let_go()
        self._hops.close()
        for cut in tuple(self._connections):
            cut()
        self._on_over(refused)

    def _let_go(self, _: object = None) -> None:
        """Close the process once nobody looks at it any more: neither who follows, nor who calls."""
        if self._is_over and self._process is not None:
            self._process.close()

    def _set_timer(self, seconds: float | None, refused: Refused | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and refused is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.end, refused)


def _ended(process: Process) -> Refused:
    return Refused(Reason.WORKLOAD_EXITED, f"pid {process.pid} has ended")
