"""One process as an MCP server: requests in, the messages of each answer out, to whoever asked.

What it says is parsed as strictly as an answer from anywhere. A line that is none is logged and left, as
programs do print to standard output; where it looks like a message, and only one request runs, that request
fails now and does not wait for what will not come.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Self

import orjson

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import MessageId, Notification, Request, Response, parse
from spiffe_mcp.mesh.stdio import correlation
from spiffe_mcp.mesh.stdio.correlation import Correlation, Routed
from spiffe_mcp.mesh.stdio.exchange import Exchange, Unread
from spiffe_mcp.mesh.stdio.process import Process
from spiffe_mcp.mesh.stdio.program import Program

MAX_RUNNING: Final = 256  # requests that one process has at once
_NOT_ASKED: Final = -32601  # JSON-RPC 2.0 section 5.1: the method is not available

_LOG: Final = logging.getLogger(__name__)


class Asked:
    """One request of one client, and what comes for it. `client` tells whose IDs are meant."""

    __slots__ = ("client", "exchange", "is_cancelled", "number")

    def __init__(self, client: object, exchange: Exchange) -> None:
        self.client = client
        self.exchange = exchange
        self.number = 0
        self.is_cancelled = False


class Server:
    """A process that is spoken to. `takes_requests`: whether its client can be asked something back."""

    def __init__(self, *, takes_requests: bool) -> None:
        self.process: Process
        self.takes_requests = takes_requests
        self._correlation: Correlation[Asked] = Correlation()
        self._unread = Unread()
        self._standing: Exchange | None = None

    @classmethod
    async def start(
        cls, name: str, program: Program, own: Mapping[str, str], *, takes_requests: bool = False
    ) -> Self:
        """One of a new process; raises `Refused(STDIO_NOT_STARTED)`."""
        server = cls(takes_requests=takes_requests)
        server.process = await Process.start(name, program, own, server._hear)
        return server

    async def run(self) -> None:
        """Return once its process has ended, and everybody who waited for it knows."""
        why = await self.process.run()
        for asked in self._correlation:
            asked.exchange.fail(why)
        if self._standing is not None:
            self._standing.fail(why)

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer of it."""
        return len(self._correlation) > 0

    # -- to the process -------------------------------------------------------------------------------------

    def ask(self, request: Request, client: object) -> Asked:
        """Send `request`, for `client`; raises `Refused`: HTTP_BUSY, STDIO_ENDED, STDIO_STUCK."""
        if len(self._correlation) >= MAX_RUNNING:
            raise Refused(Reason.HTTP_BUSY, f"{MAX_RUNNING} requests")
        asked = Asked(client, Exchange(self._unread))
        asked.number, line = self._correlation.asked(request, asked)
        try:
            self.process.write(line)
        except Refused:
            self._correlation.gone(asked.number)
            raise
        return asked

    def tell(self, message: bytes) -> None:
        """Send what has no answer; raises `Refused`: STDIO_ENDED, STDIO_STUCK."""
        self.process.write(message)

    def cancel(self, notification: Notification, named: MessageId, client: object) -> None:
        """The client has cancelled its own request; one that has been answered by now is not."""
        for asked in self._correlation.under(named):
            if asked.client == client:
                asked.is_cancelled = True
                self.tell(correlation.renamed(notification, asked.number))

    def left(self, asked: Asked, *, cancels: bool) -> None:
        """The client waits no more; `cancels`: which in its era means that it wants no answer."""
        was_over = asked.exchange.is_over
        asked.exchange.leave()
        if was_over:
            return
        if cancels:
            self._mention(correlation.cancelled(asked.number))
        if cancels or asked.is_cancelled:
            self._correlation.gone(asked.number)

    def stand(self) -> Exchange:
        """What it says of its own accord while several requests run, or none. A newer one ends an older."""
        if self._standing is not None:
            self._standing.fail(Refused(Reason.STDIO_ENDED, "another stream"))
        self._standing = Exchange(self._unread)
        return self._standing

    def stood(self, exchange: Exchange) -> None:
        """Its reader has left."""
        exchange.leave()
        if self._standing is exchange:
            self._standing = None

    # -- from the process -----------------------------------------------------------------------------------

    def _hear(self, line: bytes) -> None:
        try:
            message = parse(line)
        except Refused as refused:
            self._misheard(line, refused)
            return
        if isinstance(message, Response):
            self._pass(self._correlation.answered(message), message)
        elif isinstance(message, Notification):
            self._pass(self._correlation.noted(message), message)
        elif self.takes_requests:
            self._pass(self._correlation.unrelated(message.raw), message)
        else:
            self._decline(message)

    def _pass(self, routed: Routed[Asked] | None, message: Request | Notification | Response) -> None:
        if routed is not None:
            routed.who.exchange.put(routed.message, is_last=routed.is_last)
        elif isinstance(message, Response):
            self._unanswerable(message)
        elif self._standing is not None and correlation.is_general(message):
            self._standing.put(message.raw, is_last=False)
        elif isinstance(message, Request):
            self._decline(message)
        else:
            _LOG.info("%s: nobody is told of %s", self.process.name, ascii(message.method))

    def _unanswerable(self, response: Response) -> None:
        """An answer without an ID is about a request that was not understood: of the one that runs, say."""
        if response.id is None and (routed := self._correlation.unrelated(response.raw)) is not None:
            self._correlation.gone(routed.who.number)
            routed.who.exchange.fail(Refused(Reason.MCP_ANSWER_MALFORMED, "an answer without an ID"))
        else:
            _LOG.info("%s: an answer that nobody waits for", self.process.name)

    def _decline(self, request: Request) -> None:
        """Nobody can be asked: without an answer the process would wait for ever."""
        _LOG.info("%s: it asked its client %s, and has none", self.process.name, ascii(request.method))
        error = {"code": _NOT_ASKED, "message": "Method not found"}
        self._mention(orjson.dumps({"jsonrpc": "2.0", "id": request.id, "error": error}))

    def _mention(self, message: bytes) -> None:
        """Send what nobody waits for. Whoever cannot take it has ended, or is ended for that."""
        with suppress(Refused):
            self.tell(message)

    def _misheard(self, line: bytes, refused: Refused) -> None:
        _LOG.warning("%s: %d bytes that are no message: %s", self.process.name, len(line), refused)
        if not line.lstrip().startswith(b"{"):
            return
        if (routed := self._correlation.unrelated(line)) is not None:
            self._correlation.gone(routed.who.number)
            routed.who.exchange.fail(Refused(Reason.MCP_ANSWER_MALFORMED, str(refused)))
