"""The MCP server behind an ingress: its connections, and what it lists right now.

`Upstream.send` takes a `Permit` and nothing else, so that no byte can reach the server that was not admitted.
The one exception is the ingress's own question what tools there are (`tools/list`, in whichever era the
server speaks), whose answer is held against the signed manifest: the result, a `LiveView`, is what calls are
admitted by. It is never older than `recheck`, and it is asked for anew once something worse passes by in the
answer to a caller.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, HttpClient, Request, Response
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.http.messages import values
from spiffe_mcp.manifest import LiveView, compare
from spiffe_mcp.mcp import Era, inventory
from spiffe_mcp.mcp.inventory import OutgoingMessage
from spiffe_mcp.mcp.tools import parse_tool_list
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.capacity import IDLE
from spiffe_mcp.mesh.ingress import Permit
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.mesh.tcp import open_tcp
from spiffe_mcp.strict_json import JsonObject

MAX_PAGES: Final = 64
MAX_TOOLS: Final = 4096
MAX_ANSWER: Final = 4 * 1024 * 1024
TIMEOUT: Final = 30.0  # seconds, for the whole question


class Upstream:
    """One server behind this ingress."""

    def __init__(self, route: IngressRoute, *, recheck: timedelta, idle: int = IDLE) -> None:
        self.route = route
        self._recheck = recheck
        self._client = HttpClient(self._connect, max_idle=idle)
        self._view: LiveView | None = None
        self._seen_at = datetime.min.replace(tzinfo=UTC)
        self._asking = asyncio.Lock()
        self._ids = count(1)

    async def send(self, permit: Permit) -> Response:
        """Send what was admitted; raises `Refused(UPSTREAM_*)`."""
        return await self._client.send(permit.request)

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

    def close(self) -> None:
        """End all idle connections."""
        self._client.retire()

    # -- the ingress's own question -------------------------------------------------------------------------

    def _fresh(self, now: datetime) -> LiveView | None:
        """The view, unless it is too old; or nobody knows how old, because the clock was set back."""
        return self._view if timedelta() <= now - self._seen_at <= self._recheck else None

    async def _asked(self, now: datetime) -> LiveView:
        tools, version = await self._list_tools()
        self._view = compare(self.route.manifest.manifest, tools, protocol_version=version)
        self._seen_at = now
        return self._view

    async def _list_tools(self) -> tuple[Sequence[JsonObject], str]:
        try:
            result, _ = await self._ask(inventory.discover_request(message_id := next(self._ids)), message_id)
            upstream = inventory.parse_discover_result(result)
            session: Headers = ()
        except Refused as refused:
            # No silent downgrade: where the legacy era may not be spoken, we do not speak it either.
            if refused.reason is Reason.UPSTREAM_UNREACHABLE or self.route.minimum_era is Era.MODERN:
                raise
            upstream, session = await self._initialize()
        try:
            tools = await self._pages(upstream, session) if upstream.has_tools else []
        finally:
            if session:
                await self._end(session)
        return tools, upstream.revision.version or ""

    async def _initialize(self) -> tuple[inventory.Upstream, Headers]:
        """A legacy session of our own, with the headers that name it."""
        message_id = next(self._ids)
        result, answered = await self._ask(inventory.initialize_request(message_id), message_id)
        upstream = inventory.parse_initialize_result(result)
        session = tuple(pair for pair in answered if pair[0] == headers.SESSION_ID)
        notification = inventory.initialized_notification(upstream.revision.version or "")
        async with await self._post(notification, session):
            return upstream, session

    async def _pages(self, upstream: inventory.Upstream, session: Headers) -> list[JsonObject]:
        tools: list[JsonObject] = []
        cursor = None
        for _ in range(MAX_PAGES):
            message_id = next(self._ids)
            question = inventory.list_tools_request(upstream.revision, message_id, cursor)
            result, _ = await self._ask(question, message_id, session)
            page = parse_tool_list(result)
            tools.extend(page.tools)
            if len(tools) > MAX_TOOLS:
                raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, f"more than {MAX_TOOLS} tools")
            if page.next_cursor is None:
                return tools
            cursor = page.next_cursor
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, f"more than {MAX_PAGES} pages")

    async def _end(self, session: Headers) -> None:
        # A session that will not end is the server's to clean up; the list it gave is good.
        with suppress(Refused):
            async with await self._client.send(self._request(b"DELETE", session, b"")) as response:
                await response.body(MAX_ANSWER)

    async def _ask(
        self, question: OutgoingMessage, message_id: int, session: Headers = ()
    ) -> tuple[JsonObject, Headers]:
        async with await self._post(question, session) as response:
            kind = values(response.head.headers, b"content-type")
            body = await response.body(MAX_ANSWER)
            content_type = kind[0].decode("latin-1") if kind else ""
            return inventory.read_result(body, content_type, message_id), response.head.headers

    async def _post(self, message: OutgoingMessage, session: Headers) -> Response:
        return await self._client.send(self._request(b"POST", (*message.headers, *session), message.body))

    def _request(self, method: bytes, extra: Headers, body: bytes) -> Request:
        upstream = self.route.upstream
        host = (b"host", str(upstream.address).encode())
        return Request(method, upstream.path.encode(), (host, *extra), body)

    async def _connect(self) -> ClientConnection:
        return await open_tcp(self.route.upstream.address, ClientConnection)
