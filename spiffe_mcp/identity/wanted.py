"""Which SVID is meant where a source offers several (Workload API section 5.2.1).

A value of its own for each way to say it, so that an ID and a hint cannot both be set. Pure: no I/O, no
clock.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId

MAX_HINT: Final = 1024  # bytes; what SPIRE stores of a registration entry's hint


@dataclass(frozen=True, slots=True)
class FirstOffered:
    """The first one: the workload's default identity."""

    def is_met_by(self, spiffe_id: str, hint: str) -> bool:  # noqa: ARG002  the same question to each way
        """Whether an SVID with this ID and hint is meant."""
        return True

    def __str__(self) -> str:
        return "the first SVID"


@dataclass(frozen=True, slots=True)
class ById:
    """The one of exactly this SPIFFE ID."""

    spiffe_id: SpiffeId

    def is_met_by(self, spiffe_id: str, hint: str) -> bool:  # noqa: ARG002  see FirstOffered
        """Whether an SVID with this ID and hint is meant."""
        return spiffe_id == str(self.spiffe_id)

    def __str__(self) -> str:
        return str(self.spiffe_id)


@dataclass(frozen=True, slots=True)
class ByHint:
    """The one that the operator has marked so. Hints are opaque; of two alike, the first is meant."""

    hint: str

    def __post_init__(self) -> None:
        if not (self.hint and self.hint.isprintable() and len(self.hint.encode()) <= MAX_HINT):
            raise Refused(Reason.SVID_HINT, ascii(self.hint[:80]))

    def is_met_by(self, spiffe_id: str, hint: str) -> bool:  # noqa: ARG002  see FirstOffered
        """Whether an SVID with this ID and hint is meant."""
        return hint == self.hint

    def __str__(self) -> str:
        return f"an SVID with the hint {self.hint!a}"


Wanted: TypeAlias = FirstOffered | ById | ByHint
