"""The suite's client: any bytes out, the answer as it arrives.

    wire = await client.send(post(body))     # a `Wire`: head(), piece(), event(), whole()
    answer = await client.ask(post(body))    # the whole `Answer`

It writes what it is told, right or wrong: requests are bytes.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from tests.intermediary.framing import Cut, Head, Headers, body_of, read_head


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an MCP endpoint is: an `http://` or `https://` URL in its parts."""

    host: str
    port: int
    path: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(url)
        secure = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if secure else 80), parts.path or "/", secure)

    @property
    def authority(self) -> bytes:
        """What stands in `Host`."""
        return f"{self.host}:{self.port}".encode()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request, in parts that a check may bend before it is written."""

    body: bytes
    headers: Headers  # without Host and framing
    method: bytes = b"POST"
    host: bytes | None = None  # the endpoint's own by default

    def with_header(self, name: str, value: str | bytes) -> "Outgoing":
        """With one header more."""
        octets = value.encode() if isinstance(value, str) else value
        return Outgoing(self.body, (*self.headers, (name.encode(), octets)), self.method, self.host)

    def without(self, name: str) -> "Outgoing":
        """Without the header `name`."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower().encode())
        return Outgoing(self.body, kept, self.method, self.host)

    def replacing(self, name: str, value: str | bytes) -> "Outgoing":
        """With another value of one header."""
        return self.without(name).with_header(name, value)

    def saying(self, body: bytes) -> "Outgoing":
        """With another body, under the same headers."""
        return Outgoing(body, self.headers, self.method, self.host)

    def at(self, host: bytes) -> "Outgoing":
        """With another `Host`."""
        return Outgoing(self.body, self.headers, self.method, host)

    def written(self, endpoint: Endpoint) -> bytes:
        """Its bytes on the wire."""
        start = b"%s %s HTTP/1.1\r\n" % (self.method, endpoint.path.encode())
        lines = [(b"Host", self.host or endpoint.authority), *self.headers]
        if self.body or self.method == b"POST":
            lines.append((b"Content-Length", b"%d" % len(self.body)))
        return start + b"".join(b"%s: %s\r\n" % line for line in lines) + b"\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.start.split(b" ")[1])

    @property
    def media_type(self) -> bytes:
        """What its Content-Type says, without parameters."""
        return b",".join(self.head.values(b"content-type")).partition(b";")[0].strip().lower()

    @property
    def messages(self) -> list[Any]:
        """The JSON-RPC messages in it, in either form."""
        if self.media_type == b"text/event-stream":
            return [json.loads(data) for data in data_of(self.body)]
        return [json.loads(self.body)] if self.media_type == b"application/json" and self.body else []

    @property
    def response(self) -> Any:
        """The one response in it; an assertion fails if there is none, or another."""
        found = [message for message in self.messages if "result" in message or "error" in message]
        assert len(found) == 1, f"{len(found)} responses, status {self.status}: {self.body[:200]!r}"
        return found[0]

    @property
    def result(self) -> Any:
        """What it says of a call that went well."""
        response = self.response
        assert "result" in response, f"status {self.status}: {response}"
        return response["result"]

    @property
    def error(self) -> Any:
        """The JSON-RPC error in it, or None."""
        return next((message["error"] for message in self.messages if "error" in message), None)

    @property
    def refuses(self) -> bool:
        """Whether the caller is told that nothing came of its request."""
        return self.status >= 400 or self.error is not None


def data_of(stream: bytes) -> list[bytes]:
    """The data of each event of a whole stream (WHATWG HTML section 9.2)."""
    events, pending = [], list[bytes]()
    for line in stream.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.startswith(b"data:"):
            pending.append(line[5:].removeprefix(b" "))
        elif not line and pending:
            events.append(b"\n".join(pending))
            pending = []
    return events


class Wire:
    """One connection, and what comes back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._pieces: AsyncIterator[bytes]
        self._held = b""

    def say(self, data: bytes) -> None:
        """Write these bytes."""
        self._writer.write(data)

    async def head(self) -> Head:
        """The head of the answer; what precedes it (RFC 9110 section 15.2) is passed over."""
        while True:
            head = await read_head(self._reader)
            if head is None:
                raise Cut("closed without an answer")
            if not head.start.split(b" ")[1].startswith(b"1"):
                self._pieces = body_of(self._reader, head, until_close=True)
                return head

    async def piece(self) -> bytes:
        """What arrives next of the body; empty at its end."""
        return await anext(self._pieces, b"")

    async def event(self) -> bytes:
        """The next bytes up to an empty line, as they came; what is left at the end of the body."""
        while b"\n\n" not in self._held and b"\r\n\r\n" not in self._held:
            piece = await self.piece()
            if not piece:
                break
            self._held += piece
        end = b"\r\n\r\n" if b"\r\n\r\n" in self._held else b"\n\n"
        event, found, self._held = self._held.partition(end)
        return event + found

    async def whole(self) -> Answer:
        """The whole answer."""
        return Answer(await self.head(), await self.whole_body())

    async def whole_body(self) -> bytes:
        """What is left of the body."""
        held, self._held = self._held, b""
        return held + b"".join([piece async for piece in self._pieces])

    def leave(self) -> None:
        """Close at once."""
        self._writer.transport.abort()


class Client:
    """A client of one endpoint; each request has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.endpoint = Endpoint.parse(url)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Wire]:
        """A connection on which nothing has been said."""
        at = self.endpoint
        reader, writer = await asyncio.open_connection(
            at.host, at.port, ssl=at.secure or None, limit=16 * 1024 * 1024
        )
        wire = Wire(reader, writer)
        try:
            yield wire
        finally:
            wire.leave()

    @asynccontextmanager
    async def send(self, request: Outgoing | bytes) -> AsyncIterator[Wire]:
        """The connection on which the answer to `request` comes."""
        async with self.connected() as wire:
            wire.say(request if isinstance(request, bytes) else request.written(self.endpoint))
            yield wire

    async def ask(self, request: Outgoing | bytes) -> Answer:
        """The whole answer."""
        async with self.send(request) as wire:
            return await wire.whole()
