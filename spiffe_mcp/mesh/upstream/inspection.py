"""The ingress's own question to a server: which tools there are.

It is asked in whichever era the server speaks; one that has spoken the modern era is asked in no other until
the agent starts anew. What was learned of that is kept, a legacy session included,
until it fails: an `initialize` for each question would have a server over stdio start a process each time.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Request, Response
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import MODERN_VERSIONS, Era, inventory
from spiffe_mcp.mcp.era import VersionRefused
from spiffe_mcp.mcp.inventory import OutgoingMessage
from spiffe_mcp.mcp.tools import parse_tool_list
from spiffe_mcp.mesh import headers
from spiffe_mcp.mesh.targets import Target
from spiffe_mcp.strict_json import JsonObject

MAX_PAGES: Final = 64
MAX_TOOLS: Final = 4096
MAX_ANSWER: Final = 4 * 1024 * 1024

_NOT_THERE: Final = (Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_UNTRUSTED, Reason.STDIO_NOT_STARTED)

Send: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Met:
    """What the server said of itself, and the headers that name our session with it."""

    upstream: inventory.Upstream
    session: Headers


class Inspection:
    """Asks one server, in no era before `minimum_era`. `send` is how."""

    def __init__(self, target: Target, send: Send, minimum_era: Era) -> None:
        self._target = target
        self._minimum_era = minimum_era
        self._send = send
        self._ids = count(1)
        self._met: _Met | None = None
        self._was_modern = False

    async def tools(self) -> tuple[Sequence[JsonObject], str]:
        """All tools that the server lists, and the version of MCP it did that in; raises `Refused`."""
        if (met := self._met) is not None:
            try:
                return await self._list(met)
            except Refused:
                # A session ends, a server is replaced by a newer one. What is wrong with it beside that
                # shows again at once.
                await self._forget(met)
        met = await self._meet()
        try:
            listed = await self._list(met)
        except Refused:
            await self._forget(met)
            raise
        self._met = met if met.upstream.has_tools else None
        return listed

    async def _meet(self) -> _Met:
        try:
            discovered = inventory.parse_discover_result(await self._discover())
            self._was_modern = True
            return _Met(discovered, ())
        except Refused as refused:
            # No silent downgrade: where the legacy era may not be spoken, we do not speak it either.
            if refused.reason in _NOT_THERE or self._minimum_era is Era.MODERN:
                raise
            # Nor with a server that has spoken the modern one: whoever stands in its way could take it away.
            if self._was_modern:
                raise Refused(
                    refused.reason, f"{refused.detail}; it spoke {MODERN_VERSIONS[0]} before"
                ) from None
        return await self._initialize()

    async def _discover(self) -> JsonObject:
        """The result of `server/discover`, in a modern version that the server speaks."""
        try:
            result, _ = await self._ask(inventory.discover_request(message_id := next(self._ids)), message_id)
        except VersionRefused as refused:
            # 2026-07-28 basic/versioning: a version in common is tried before an older era is, and once.
            if (version := inventory.newest_shared(refused.supported)) is None:
                raise
            question = inventory.discover_request(message_id := next(self._ids), version)
            result, _ = await self._ask(question, message_id)
        return result

    async def _initialize(self) -> _Met:
        """A legacy session of our own."""
        message_id = next(self._ids)
        result, answered = await self._ask(inventory.initialize_request(message_id), message_id)
        upstream = inventory.parse_initialize_result(result)
        session = tuple(pair for pair in answered if pair[0] == headers.SESSION_ID)
        notification = inventory.initialized_notification(upstream.revision.version or "")
        async with await self._post(notification, session):
            return _Met(upstream, session)

    async def _list(self, met: _Met) -> tuple[Sequence[JsonObject], str]:
        tools = await self._pages(met) if met.upstream.has_tools else []
        return tools, met.upstream.revision.version or ""

    async def _pages(self, met: _Met) -> list[JsonObject]:
        tools: list[JsonObject] = []
        cursor = None
        for _ in range(MAX_PAGES):
            message_id = next(self._ids)
            question = inventory.list_tools_request(met.upstream.revision, message_id, cursor)
            result, _ = await self._ask(question, message_id, met.session)
            page = parse_tool_list(result)
            tools.extend(page.tools)
            if len(tools) > MAX_TOOLS:
                raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, f"more than {MAX_TOOLS} tools")
            if page.next_cursor is None:
                return tools
            cursor = page.next_cursor
        raise Refused(Reason.MCP_TOOL_LIST_MALFORMED, f"more than {MAX_PAGES} pages")

    async def _forget(self, met: _Met) -> None:
        self._met = None
        if not met.session:
            return
        # A session that will not end is the server's to clean up.
        with suppress(Refused):
            async with await self._send(self._request(b"DELETE", met.session, b"")) as response:
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
        return await self._send(self._request(b"POST", (*message.headers, *session), message.body))

    def _request(self, method: bytes, extra: Headers, body: bytes) -> Request:
        return Request(method, self._target.path.encode(), ((b"host", self._target.host), *extra), body)
