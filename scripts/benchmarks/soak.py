"""Load for minutes, and what each process holds meanwhile: memory has to be flat."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from scripts.benchmarks.measure import Meter
from scripts.benchmarks.peers.target import Running
from scripts.benchmarks.usage import Memory

CONNECTIONS: Final = 16
STEP: Final = 10  # seconds of load between two looks


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a target under load."""

    seconds: float  # since the beginning
    calls: int  # since the look before
    memory: Mapping[str, Memory]  # by role

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "seconds": round(self.seconds),
            "calls": self.calls,
            "rss_mib": {role: round(held.rss, 1) for role, held in self.memory.items()},
            "pss_mib": {role: round(held.pss, 1) for role, held in self.memory.items()},
        }


def soaked(meter: Meter, name: str, running: Running, seconds: int) -> Iterator[Look]:
    """One look for every `STEP` of load; raises `WrongAnswersError`."""
    begun = monotonic()
    while monotonic() - begun < seconds:
        one = meter.once(name, running, 0, CONNECTIONS, STEP)
        yield Look(monotonic() - begun, one.load.calls, one.memory)
