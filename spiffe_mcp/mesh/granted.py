"""What the phases of `ingress` grant, what they refuse with, and what a request is called.

Each grant is a type that only its phase can make (`permit.GrantedOnly`), and holds the one before it. Values
only. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.context import VerifiedContext
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.manifest import LiveView, SignedTool, VerifiedManifest
from spiffe_mcp.mcp import Call
from spiffe_mcp.mcp.capabilities import Capability
from spiffe_mcp.mcp.subscriptions import Subscription
from spiffe_mcp.mesh.reading import Asked, ClientAnswer, Listening, SessionEnd
from spiffe_mcp.mesh.replays import Owed
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.mesh.tasks import Maker
from spiffe_mcp.permit import GrantedOnly
from spiffe_mcp.policy import Decision

# Our names for what is no call; no method of MCP is called so.
SESSION_END: Final = "session/end"
SESSION_ANSWER: Final = "session/answer"
SESSION_LISTEN: Final = "session/listen"


@dataclass(frozen=True, slots=True)
class Inbound(metaclass=GrantedOnly):
    """A request that could be read."""

    request: Request
    asked: Asked
    header: bytes

    @property
    def call(self) -> Call | None:
        """The call that it is, if it is one."""
        return self.asked if isinstance(self.asked, Call) else None


@dataclass(frozen=True, slots=True)
class Authenticated(metaclass=GrantedOnly):
    """A request of which is known who sent it, for whom. `declared`: at the beginning of its session."""

    inbound: Inbound
    context: VerifiedContext
    session: bytes | None
    declared: Capability
    made_by: bytes | None = None  # of a request about a task, the tool that made it: see `mesh.tasks`
    owed: Owed | None = None  # of a stream that is gone on with, what it was to answer: see `mesh.replays`
    wanted: Subscription | None = None  # of a subscription, what is asked for; tasks are the caller's own

    @property
    def owner(self) -> Owner:
        """Whose sessions and tasks it may use."""
        return owner_of(self.context)

    @property
    def maker(self) -> Maker:
        """Whose the tasks are that it makes."""
        return Maker(self.owner, self.session)


@dataclass(frozen=True, slots=True)
class Selected(metaclass=GrantedOnly):
    """A request whose tool, if it names one, is the signed one."""

    authenticated: Authenticated
    manifest: VerifiedManifest
    live: LiveView
    tool: SignedTool | None


@dataclass(frozen=True, slots=True)
class Decided(metaclass=GrantedOnly):
    """A request about which policy has been asked; what it said may be a refusal."""

    selected: Selected
    decision: Decision
    visible: Mapping[str, SignedTool]  # for `tools/list`: what of the answer may be shown
    subscription: Subscription | None = None  # for `subscriptions/listen`: what of it is permitted


@dataclass(frozen=True, slots=True)
class Permit(metaclass=GrantedOnly):
    """A request that may be sent to the MCP server behind this ingress."""

    request: Request
    decided: Decided

    @property
    def authenticated(self) -> Authenticated:
        """Who sent it."""
        return self.decided.selected.authenticated


def action_of(asked: Asked) -> str:
    """What policy and audit call a request."""
    match asked:
        case Call():
            return asked.action
        case ClientAnswer():
            return SESSION_ANSWER
        case Listening():
            return SESSION_LISTEN
        case SessionEnd():
            return SESSION_END


def owner_of(context: VerifiedContext) -> Owner:
    """Whose sessions whoever sent `context` may use."""
    return Owner(context.issuer, context.caller, context.user.sub, context.user.sub_iss)


class Hidden(Refused):
    """A refusal that has to look as if the tool did not exist; the record knows better."""


class PolicyRefused(Refused):
    """A refusal by policy, with the decision that says so."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.refusal or Reason.POLICY_DENIED, decision.detail)
        self.decision = decision


class ListeningRefused(PolicyRefused):
    """A stream that policy does not grant: to the caller there is none, and it goes on without."""
