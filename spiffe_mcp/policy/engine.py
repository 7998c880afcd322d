"""What every policy engine is to the mesh, whichever engine it is.

An engine answers; it never raises for a caller's doing and never allows by default. Everything that is not a
clear permission is a refusal with a reason: fail closed.
"""

from typing import Protocol

from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.policy.input import PolicyInput


class PolicyEngine(Protocol):
    """A compiled policy, ready to be asked."""

    @property
    def version(self) -> str:
        """The operator's name for this policy; goes into every audit record."""

    @property
    def digest(self) -> str:
        """`sha256:` and the hex digest of everything that was compiled."""

    def decide(self, question: PolicyInput) -> Decision:
        """May this call be made? A question the engine cannot read rightly is refused."""

    def visible_tools(self, question: PolicyInput) -> frozenset[str]:
        """The names out of `question.tools` that the caller may see; undefined means none.

        Asked once for a whole list. Raises `Refused(POLICY_*)` when the engine cannot answer at all.
        """
