"""What a legacy server asks of a client (sampling, elicitation, roots, ping), in the stream of an answer.

Enters: the permit of the exchange in whose stream it stands, and the request. Leaves: the request as it came,
for the client; or nothing, and a `Declined`, so that the server is told and does not wait. In order:

 1. there is a session, in which the client can answer; without one nobody could say who may
 2. it is on the list, and the client declared at `initialize` that it takes it (`mcp.server_requests`)
 3. policy permits it, asked the other way round
 4. it is remembered as waiting, so that one answer may pass, and no other (`pending`)

2026-07-28 knows no such requests: there, one ends the stream. Pure; the listener sends what is declined.
"""

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mcp import Era, declined
from spiffe_mcp.mcp import Request as McpRequest
from spiffe_mcp.mcp.judge import WITHHELD, OfAnEra
from spiffe_mcp.mcp.server_requests import check_offered
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.behind import Behind
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.granted import Permit, PolicyRefused
from spiffe_mcp.mesh.policy_question import decide_asked


class Questions(OfAnEra):
    """Judges what a server says unasked in the stream of one exchange of a legacy session."""

    __slots__ = ("_behind", "_permit", "_session")

    def __init__(self, permit: Permit, behind: Behind) -> None:
        super().__init__(Era.LEGACY)
        self._permit = permit
        self._behind = behind
        self._session = permit.authenticated.session

    def request(self, request: McpRequest) -> bytes:
        """The request itself, or nothing; raises `Refused(MCP_SERVER_REQUEST_REFUSED)` without a session."""
        # (1) Default deny, as without any memory.
        if self._session is None:
            return super().request(request)
        try:
            self._admit(request, self._session)
        except Refused as refused:
            self._behind.decline(self._declined(request, refused))
            return WITHHELD
        return request.raw

    def _admit(self, request: McpRequest, session: bytes) -> None:
        authenticated, now = self._permit.authenticated, self._behind.clock()
        # (2) What it never offered is not asked, whatever policy says.
        check_offered(request, authenticated.declared)
        # (3) Default deny, by the policy and the clock of this moment: the stream may be an old one.
        decision = decide_asked(
            self._permit.decided,
            request,
            policy=self._behind.policy,
            environment=self._behind.environment,
            now=now,
        )
        if not decision.allow:
            raise PolicyRefused(decision)
        # (4) Full, it is not asked: its answer could not pass.
        self._behind.memory.pending.asked(session, request.id, authenticated.owner, now)

    def _declined(self, request: McpRequest, refused: Refused) -> Declined:
        kept = (b"host", headers.SESSION_ID, b"mcp-protocol-version")
        own = tuple(pair for pair in self._permit.request.headers if pair[0] in kept)
        answer = Request(
            b"POST",
            self._permit.request.target,
            (*own, *headers.POSTED),
            declined(request.id, by_policy=isinstance(refused, PolicyRefused)),
        )
        return Declined.granted(request=answer, method=request.method, refused=refused)
