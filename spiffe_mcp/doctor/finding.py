"""One finding: what was looked at, how bad it is, what was found, and what to do about it.

Enters: words of ours, and parts of what others said. Leaves: a frozen value that a terminal can be shown.
Findings are made by the probes and the judgements beside this module; nothing here looks at anything. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

MAX_TEXT: Final = 1000  # characters of one text; what others said is part of it


class Severity(IntEnum):
    """How bad it is. The value is the exit code of a run in which nothing was worse; 2 is wrong usage."""

    OK = 0
    WARNING = 1
    ERROR = 3


class Check(Enum):
    """What was looked at: a stable name that machines may go by."""

    CONFIGURATION = "configuration"
    DESCRIPTORS = "descriptors"
    AUDIT = "audit"
    SOCKET = "socket"
    WORKLOAD_API = "workload_api"
    SVID = "svid"
    CLOCK = "clock"
    BUNDLE = "bundle"
    PEER = "peer"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `advice` is empty where there is nothing to do."""

    check: Check
    severity: Severity
    message: str
    advice: str = ""

    def __post_init__(self) -> None:
        # What a provider, a peer or a file said is in these texts: it must not speak to the terminal.
        object.__setattr__(self, "message", _printable(self.message))
        object.__setattr__(self, "advice", _printable(self.advice))

    def document(self) -> dict[str, str]:
        """The finding for machines."""
        return {
            "check": self.check.value,
            "severity": self.severity.name.lower(),
            "message": self.message,
            "advice": self.advice,
        }


def ok(check: Check, message: str) -> Finding:
    """All is well."""
    return Finding(check, Severity.OK, message)


def warning(check: Check, message: str, advice: str) -> Finding:
    """It works, and will not for long, or not for many."""
    return Finding(check, Severity.WARNING, message, advice)


def error(check: Check, message: str, advice: str) -> Finding:
    """Calls are refused because of this."""
    return Finding(check, Severity.ERROR, message, advice)


def worst(findings: Iterable[Finding]) -> Severity:
    """How bad it is altogether."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def _printable(text: str) -> str:
    escaped = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return escaped if len(escaped) <= MAX_TEXT else f"{escaped[:MAX_TEXT]}..."
