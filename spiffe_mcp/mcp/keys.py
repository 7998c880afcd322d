"""Keys that a parser which folds case could take for a key that was authorised.

Go's `encoding/json` matches keys by simple folding (so `U+017F` is an s and `U+212A` a k), Java's
`equalsIgnoreCase` also takes `U+0131` for an i. A body whose `Name` was ignored here and obeyed there would
be a body authorised for another tool. Such keys are refused: a name that matters has one spelling.

The members of a tool's `arguments` are not known here. The ingress, which knows the signed schema, checks
them the same way, with `ExactKeys` of its property names: a policy that reads `path` must not be passed by a
`Path`. Members of objects further down are the schema's affair.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from spiffe_mcp.errors import Reason, Refused

MAX_SHOWN: Final = 64


@dataclass(frozen=True, slots=True)
class ExactKeys:
    """The keys of one kind of object that must be spelled exactly as in `names`, or be absent."""

    names: frozenset[str]
    _folded: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded", frozenset(map(fold, self.names)))

    def check(self, found: Collection[str]) -> None:
        """Return if no key of `found` is another spelling of a name; raises `Refused(MCP_KEY_CASE)`."""
        if self.names.issuperset(found):
            return
        for key in found:
            if key not in self.names and fold(key) in self._folded:
                raise Refused(Reason.MCP_KEY_CASE, ascii(key[:MAX_SHOWN]))

    def check_answered(self, found: Collection[str]) -> None:
        """As `check`, of what a server said: the caller did nothing wrong. Raises `MCP_ANSWER_MALFORMED`."""
        try:
            self.check(found)
        except Refused as refused:
            raise Refused(Reason.MCP_ANSWER_MALFORMED, str(refused)) from refused


def fold(key: str) -> str:
    """One spelling for all that some parser takes for the same key: at least Go's and Java's folding."""
    return key.upper().lower()
