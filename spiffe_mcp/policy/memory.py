"""Decisions that were made, for questions that look the same to the policy.

Enters: the part of an input document that a policy can see, and what was decided. Leaves: the decision, for a
part that was seen before. This is sound because a policy decides by nothing else: of `input` it reads what
its projection holds, `data` is compiled in, and `source.FUNCTIONS` has no clock, no randomness, no network
and no environment. A policy that reads the time to the second, or of the arguments more than `likeness` can
put in a few words, meets no question twice and gains nothing.

What ends it: the policy. A memory belongs to one compiled policy and goes with it when another is put in
force, so no decision outlives the text that made it. Nothing else can: a permission that was withdrawn from a
user, a tool whose risk was raised, an hour that has struck are in the question.

Pure.
"""

import marshal
from typing import Any, Final

from spiffe_mcp.errors import Reason
from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.recent import Recent

CAPACITY: Final = 1024  # questions
MAX_KEY_BYTES: Final = 2048
_WITHOUT_REFERENCES: Final = 2  # the version of the format in which equal values are written alike


class DecisionMemory:
    """The newest decisions of one policy."""

    __slots__ = ("_decisions",)

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._decisions: Recent[bytes, Decision] = Recent(capacity)

    def __len__(self) -> int:
        return len(self._decisions)

    def get(self, key: bytes | None) -> Decision | None:
        """What was decided under `key`."""
        return None if key is None else self._decisions.get(key)

    def keep(self, key: bytes | None, decision: Decision) -> None:
        """Remember `decision`, unless it is the engine's failure, which may be of this moment only."""
        if key is not None and decision.refusal is not Reason.POLICY_ERROR:
            self._decisions.keep(key, decision)


def key_of(visible: dict[str, Any]) -> bytes | None:
    """Octets that no other question has, types included; None for one that is too large to be remembered.

    Python's own format, because it can be read back: no two values are written alike. In JSON, true to its
    grammar or not, a NaN and null could be; as a Python value, true is equal to 1.
    """
    try:
        key = marshal.dumps(visible, _WITHOUT_REFERENCES)
    except ValueError:  # no JSON, or too deep: the engine's checks have a reason for it
        return None
    return key if len(key) <= MAX_KEY_BYTES else None
