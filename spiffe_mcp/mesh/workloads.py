"""All local workloads of a node agent: each connection finds the one that it belongs to, and no other.

Enters: attested processes (`workload.attestation`), and what makes a source of identity for one. Leaves: a
`Workload` for each, made with the first connection and shared by the later ones of the same process, or of
the same pod. A process is the same if its number is, its user and group are, and the one we know is alive: a
number is not given out again before its process is gone, and one that has changed its user is somebody else.

Bounded, and no user of the node can take all of it: `fair_share`.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.fair_share import FairShare, Holder
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.mesh.capacity import IDLE, WORKLOADS
from spiffe_mcp.mesh.workload import MadeWith, Workload, WorkloadTimes
from spiffe_mcp.workload.attestation import Attested

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkloadLimits:
    """How many workloads, and for how long each."""

    workloads: int = WORKLOADS
    idle: int = 16 * IDLE  # hops of all of them that nothing runs on
    times: WorkloadTimes = field(default_factory=WorkloadTimes)


class Workloads:
    """The workloads of this node that have called. `source` makes a source of identity for one."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        source: Callable[[Attested], IdentitySource],
        made_with: MadeWith,
        limits: WorkloadLimits | None = None,
    ) -> None:
        self._tasks = tasks
        self._source = source
        self._made_with = made_with
        self._limits = limits or WorkloadLimits()
        self._workloads: dict[Hashable, Workload] = {}
        self._room = FairShare(self._limits.workloads)
        self._idle = FairShare(self._limits.idle)

    def __len__(self) -> int:
        return len(self._workloads)

    def of(self, caller: Attested) -> Workload:
        """The workload that `caller` is of; raises `Refused`: WORKLOAD_TOO_MANY, WORKLOAD_EXITED."""
        known = self._workloads.get(caller.key)
        if known is not None and known.holds():
            # Only now is it certain that the number, by which it was found, is one process's and not two's.
            caller.process.check_alive()
            return known
        return self._new(caller)

    def recheck(self) -> None:
        """Something has changed by which the hops of all workloads are judged."""
        for workload in self._workloads.values():
            workload.recheck()

    def close(self) -> None:
        """End them all."""
        for workload in tuple(self._workloads.values()):
            workload.end(Refused(Reason.IDENTITY_UNAVAILABLE, "the agent is stopping"))

    def _new(self, caller: Attested) -> Workload:
        source = self._source(caller)
        if not self._room.take(caller.holder):
            raise Refused(Reason.WORKLOAD_TOO_MANY, f"{caller}: no room for one more workload")
        try:
            process = None if caller.pod is not None else caller.process.duplicate()
        except Refused:
            self._room.give_back(caller.holder)
            raise
        workload = Workload(
            source,
            process,
            made_with=replace(self._made_with, room=Holder(self._idle, caller.holder)),
            times=self._limits.times,
            on_over=self._forgetting(caller),
        )
        self._workloads[caller.key] = workload
        workload.start(self._tasks)
        return workload

    def _forgetting(self, caller: Attested) -> Callable[[Refused], None]:
        name, key, holder = str(caller), caller.key, caller.holder

        def forget(refused: Refused) -> None:
            _LOG.info("%s: nothing more is done in its name: %s", name, refused)
            del self._workloads[key]
            self._room.give_back(holder)

        return forget
