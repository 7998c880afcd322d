"""The measuring: rounds over all targets at all numbers of connections, so that a disturbance meets them all.

Enters: targets that run. Leaves: `Measurement`s. What one round says of two targets may be compared, because
it was measured within seconds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.benchmarks import sampling, usage
from scripts.benchmarks.load import Load, Wrk, WrongAnswersError
from scripts.benchmarks.peers.target import Running
from scripts.benchmarks.server import Server
from scripts.benchmarks.usage import Memory

_WARM_UP: Final = 1  # seconds, at the first measurement of a target
_SAMPLES: Final = 3  # answers looked at before and after each measurement


@dataclass(frozen=True, slots=True)
class Measurement:
    """One target at one number of connections, once."""

    target: str
    round: int
    connections: int
    load: Load
    cpu: Mapping[str, float]  # seconds, by role; the load and the MCP server among them
    memory: Mapping[str, Memory]  # by role, right after it


class Meter:
    """Measures targets that lead to one MCP server."""

    def __init__(self, wrk: Wrk, server: Server) -> None:
        self._wrk = wrk
        self._server = server

    def warm(self, running: Running) -> None:
        """Have every connection opened and every path run once; raises `WrongAnswersError`."""
        sampling.check(running.form, running.url, _SAMPLES)
        self._wrk.run(running.form, running.url, 4, _WARM_UP)

    def once(self, name: str, running: Running, round_: int, connections: int, seconds: int) -> Measurement:
        """One measurement; raises `WrongAnswersError`."""
        roles = {**running.processes, "server": self._server.pid}
        before = {role: usage.cpu_seconds(pid) for role, pid in roles.items()}
        load = self._checked(running, connections, seconds)
        cpu = {role: usage.cpu_seconds(pid) - before[role] for role, pid in roles.items()}
        memory = {role: usage.memory(pid) for role, pid in running.processes.items()}
        return Measurement(name, round_, connections, load, {**cpu, "load": load.cpu}, memory)

    def _checked(self, running: Running, connections: int, seconds: int) -> Load:
        """The load, of which every answer came from the MCP server, and some were read."""
        sampling.check(running.form, running.url, _SAMPLES)
        before = sampling.answered(self._server.address)
        if connections > 1:  # at one connection, a second client would be half the load
            with sampling.sampled(running.form, running.url):
                load = self._wrk.run(running.form, running.url, connections, seconds)
        else:
            load = self._wrk.run(running.form, running.url, connections, seconds)
        answered = sampling.answered(self._server.address) - before
        sampling.check(running.form, running.url, _SAMPLES)
        if answered < load.calls:
            raise WrongAnswersError(f"{load.calls} answers, and the MCP server gave {answered} of them")
        return load


def rounds(
    meter: Meter,
    targets: Mapping[str, Running],
    *,
    number: int,
    connections: Sequence[int],
    seconds: int,
) -> Iterator[Measurement]:
    """Every target at every number of connections, and all of it `number` times."""
    for round_ in range(number):
        for count in connections:
            for name, running in _turned(targets.items(), round_):
                yield meter.once(name, running, round_, count, seconds)


def _turned(targets: Iterable[tuple[str, Running]], by: int) -> list[tuple[str, Running]]:
    """Each round begins with another target, so that none is always the first."""
    items = list(targets)
    start = by % len(items)
    return items[start:] + items[:start]
