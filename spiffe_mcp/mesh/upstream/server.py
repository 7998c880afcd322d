"""One server behind an ingress: what was admitted goes there, and what it lists is known.

The answer to the ingress's own question is held against the signed manifest: the result, a `LiveView`, is
what calls are admitted by. It is never older than `recheck`, and it is asked for anew once something worse
passes by in the answer to a caller, or the server says that it has changed.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, Request, Response, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.manifest import LiveView, compare
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.capacity import IDLE
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.mesh.targets import Target
from spiffe_mcp.mesh.upstream.connect import connector, is_tls
from spiffe_mcp.mesh.upstream.inspection import Inspection

# Whatever else a bridge refuses (an unknown session, a method) is answered as an MCP server answers it.
_OF_A_BRIDGE: Final = {
    reason.code.encode(): reason
    for reason in (
        Reason.STDIO_NOT_STARTED,
        Reason.STDIO_ENDED,
        Reason.STDIO_STUCK,
        Reason.STDIO_UNREAD,
        Reason.STDIO_TOO_MANY,
    )
}
TIMEOUT: Final = 30.0  # seconds, for the whole question


class Upstream:
    """One server behind this ingress."""

    def __init__(self, route: IngressRoute, *, recheck: timedelta, idle: int = IDLE) -> None:
        self.route = route
        self._recheck = recheck
        self._idle = idle
        self._client = self._opened(route.upstream)
        self._inspection = Inspection(route.upstream, self._sent, route.minimum_era)
        self._view: LiveView | None = None
        self._seen_at = datetime.min.replace(tzinfo=UTC)
        self._asking = asyncio.Lock()

    def replacement(self, route: IngressRoute, recheck: timedelta) -> Callable[[], None]:
        """Make ready to go on by `route`, of the same target; returns what puts it in force, and cannot fail.

        Connections stay, but for those over TLS, whose authorities are read again. What is known of the tools
        does not stay: a question that is under way is answered by the new manifest. Raises ValueError for
        another target, `Refused(CONFIG_INVALID)` for authorities that cannot be loaded.
        """
        if route.upstream != self.route.upstream:
            raise ValueError(str(self.route.name))
        client = self._opened(route.upstream) if is_tls(route.upstream) else self._client

        def put_in_force() -> None:
            if client is not self._client:
                self._client.retire()
            if client is not self._client or route.minimum_era is not self.route.minimum_era:
                self._inspection = Inspection(route.upstream, self._sent, route.minimum_era)
            self._client, self.route, self._recheck, self._view = client, route, recheck, None

        return put_in_force

    async def send(self, permit: Permit | Declined) -> Response:
        """Send what was admitted, or the answer to what was not; raises `Refused(UPSTREAM_*, STDIO_*)`."""
        return await self._sent(permit.request)

    async def live(self, now: datetime) -> LiveView:
        """What the server lists, seen at most `recheck` ago; raises `Refused` if it cannot be learned."""
        if (view := self._fresh(now)) is not None:
            return view
        try:
            # The wait for one's turn counts: behind a silent server, each would wait for all before it.
            async with asyncio.timeout(TIMEOUT), self._asking:  # one question serves all who wait
                return self._fresh(now) or await self._asked(now)
        except TimeoutError:
            raise Refused(Reason.UPSTREAM_TIMEOUT, "tools/list") from None

    def observed(self, view: LiveView) -> None:
        """A page of tools went by: if it hides one that is exposed, the server is asked before the next call.

        The page itself is not believed. Its caller chose the revision, the language and the cursor that it
        was asked with, and must not hide by that a tool from everybody else.
        """
        if self._view is not None and not self._view.exposed.keys().isdisjoint(view.hidden):
            self._view = None

    def changed(self) -> None:
        """The server says that its tools are others now: it is asked before the next call."""
        self._view = None

    def close(self) -> None:
        """End all idle connections."""
        self._client.retire()

    def _opened(self, target: Target) -> HttpClient:
        return HttpClient(connector(target), max_idle=self._idle)

    async def _sent(self, request: Request) -> Response:
        response = await self._client.send(request)
        if (refused := _by_a_bridge(response.head)) is not None:
            async with response:
                raise refused
        return response

    # -- the ingress's own question -------------------------------------------------------------------------

    def _fresh(self, now: datetime) -> LiveView | None:
        """The view, unless it is too old; or nobody knows how old, because the clock was set back."""
        return self._view if timedelta() <= now - self._seen_at <= self._recheck else None

    async def _asked(self, now: datetime) -> LiveView:
        tools, version = await self._inspection.tools()
        self._view = compare(self.route.manifest.manifest, tools, protocol_version=version)
        self._seen_at = now
        return self._view


def _by_a_bridge(head: ResponseHead) -> Refused | None:
    """The refusal of a bridge whose program cannot answer, which is no answer of an MCP server."""
    named = values(head.headers, headers.BRIDGE_REFUSED)
    reason = _OF_A_BRIDGE.get(named[0]) if named else None
    return Refused(reason) if reason is not None else None
