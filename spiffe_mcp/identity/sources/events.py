"""What a source of identity has to say, for the log and for metrics. Never a key, never a certificate."""

from dataclasses import dataclass
from typing import TypeAlias

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused


@dataclass(frozen=True, slots=True)
class Updated:
    """A new state is in force."""

    state: IdentityState


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The source cannot be reached; the last state stays in force until its SVID expires."""

    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The source sends messages again; `code` is that of the outage."""

    code: str


@dataclass(frozen=True, slots=True)
class Denied:
    """There is no identity, or it was withdrawn. None until an `Updated`."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}" if self.detail else self.reason.code


@dataclass(frozen=True, slots=True)
class Rejected:
    """The source calls our request invalid. A defect of one of the two, which no retry can mend."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}"


Ending: TypeAlias = Disconnected | Denied | Rejected  # of a stream
SourceEvent: TypeAlias = Updated | PartRefused | Reconnected | Ending
