"""The rules of the linter, and what breaks one.

Leaves: `Rule`, a stable code with the severity it has where nobody says otherwise, and `Finding`. Pure.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Severity(Enum):
    """What a finding means for whoever is about to sign."""

    OFF = "off"
    WARNING = "warning"
    ERROR = "error"


class Rule(Enum):
    """The value is (stable code, default severity, what is wrong with it)."""

    UNSIGNABLE = ("unsignable", Severity.ERROR, "cannot be signed as it is")
    HIDDEN_TEXT = ("hidden-text", Severity.ERROR, "characters that a reader does not see, or sees elsewhere")
    TERMINAL = ("terminal-sequence", Severity.ERROR, "escape sequence that repaints a reviewer's terminal")
    LOOKALIKE = ("lookalike", Severity.ERROR, "one word in letters of several scripts")
    OFF_SCREEN = ("off-screen", Severity.WARNING, "a gap that moves what follows out of sight")
    INSTRUCTION = ("instruction", Severity.ERROR, "speaks to the model, not of the tool")
    SECRECY = ("secrecy", Severity.ERROR, "asks to keep something from the user")
    CROSS_TOOL = ("cross-tool", Severity.WARNING, "speaks of another tool")
    SECRET = ("secret", Severity.WARNING, "asks for a secret, or for a file that holds some")
    LINK = ("link", Severity.WARNING, "a link that a model might follow or show")
    MARKUP = ("markup", Severity.WARNING, "markup that a viewer may hide or a model may take for structure")
    ENCODED = ("encoded", Severity.WARNING, "encoded data that nobody can review")
    LONG = ("long", Severity.WARNING, "longer than a reviewer reads")
    NO_DESCRIPTION = ("no-description", Severity.WARNING, "says nothing about what it does")
    OPEN_OBJECT = ("open-object", Severity.WARNING, "admits members that nobody named")
    ANY_VALUE = ("any-value", Severity.WARNING, "admits any value")
    FREE_COMMAND = ("free-command", Severity.WARNING, "admits any text where a command or a query is meant")
    ANNOTATION = ("annotation", Severity.ERROR, "annotations contradict each other or the tool's name")

    def __init__(self, code: str, severity: Severity, meaning: str) -> None:
        self.code: Final = code
        self.severity: Final = severity
        self.meaning: Final = meaning


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule is broken. All of it is printable ASCII, safe for a terminal and a log."""

    rule: Rule
    place: str  # JSONPath (RFC 9535) from the tool or the manifest on
    found: str  # the words in question, escaped and bounded
    tool: str | None = None  # None: the server's instructions

    @classmethod
    def at(cls, rule: Rule, place: str, found: str) -> "Finding":
        """A finding whose `found` is the server's words: escaped and cut to 80 characters."""
        return cls(rule, place, ascii(found[:80])[1:-1])
