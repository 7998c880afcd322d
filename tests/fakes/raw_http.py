r"""Any bytes to an egress or an ingress, and all that comes back until it closes.

async with to_egress(mesh) as raw:       # as a local workload
async with to_ingress(mesh) as raw:      # as a peer, inside mutual TLS
    raw.say(b"POST /desk/mcp HTTP/1.1\r\n...")
    await raw.closed()
    raw.statuses                         # of the answers, in order
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias, cast

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Request
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol
from tests.fakes.mcp_client import now
from tests.fakes.mesh import PLANNER, SERVER, Mesh

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_INTERIM: Final = 200

Side: TypeAlias = Callable[[Mesh], AbstractAsyncContextManager["Raw"]]


class Raw(asyncio.Protocol):
    """A connection on which nothing is understood."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._transport: asyncio.Transport
        self._lost = asyncio.Event()
        self._more = asyncio.Event()

    @property
    def statuses(self) -> list[int]:
        """Of the answers that came, but for interim ones (RFC 9110 section 15.2)."""
        return [status for status in map(int, _STATUS.findall(self.received)) if status >= _INTERIM]

    @property
    def is_closed(self) -> bool:
        """Whether the other side has ended it."""
        return self._lost.is_set()

    def say(self, data: bytes) -> None:
        """Write these bytes, if somebody is there to take them."""
        if not self.is_closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until what was said has left, or nobody is there to take it."""
        while self._transport.get_write_buffer_size() and not self.is_closed:  # noqa: ASYNC110  no event of its own
            await asyncio.sleep(0)

    async def says(self, data: bytes) -> None:
        """Wait until these bytes have come; fails once they no longer can."""
        while data not in self.received:
            assert not self.is_closed, bytes(self.received)
            self._more.clear()
            await self._more.wait()

    async def closed(self) -> None:
        """Wait for the other side to close."""
        await self._lost.wait()

    def leave(self) -> None:
        """Cut the connection."""
        if not self.is_closed:
            self._transport.abort()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._more.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._lost.set()
        self._more.set()


@asynccontextmanager
async def to_egress(mesh: Mesh) -> AsyncIterator[Raw]:
    """A local workload's connection."""
    address = mesh.egresses[PLANNER]
    transport, raw = await asyncio.get_running_loop().create_connection(Raw, address.host, address.port)
    try:
        yield raw
    finally:
        transport.abort()


@asynccontextmanager
async def to_ingress(mesh: Mesh) -> AsyncIterator[Raw]:
    """A peer's connection, whose handshake is complete."""
    loop = asyncio.get_running_loop()
    secured: asyncio.Future[Raw] = loop.create_future()
    identity = TlsIdentity(IdentityState(mesh.svid(PLANNER), mesh.provider.issued.bundles), now)

    def on_secured(_: Peer) -> Raw:
        secured.set_result(raw := Raw())
        return raw

    def on_refused(_: object, refused: Refused) -> None:
        secured.set_exception(refused)

    def protocol() -> TlsProtocol:
        return TlsProtocol(identity.connect(SERVER), on_secured=on_secured, on_refused=on_refused)

    transport, _ = await loop.create_connection(protocol, mesh.ingress.host, mesh.ingress.port)
    try:
        yield await secured
    finally:
        transport.abort()


SIDES: Final[dict[str, Side]] = {"egress": to_egress, "ingress": to_ingress}


def head_of(request: Request, start: bytes | None = None) -> bytes:
    """The start line and the headers of `request`, without framing and without the empty line."""
    lines = [start or b"%s %s HTTP/1.1" % (request.method, request.target)]
    return b"\r\n".join([*lines, *(b"%s: %s" % pair for pair in request.headers)])


def plain(request: Request, *extra: bytes) -> bytes:
    """`request` as anybody would write it, with these header lines more."""
    lines = (head_of(request), b"Content-Length: %d" % len(request.body), *extra)
    return b"\r\n".join(lines) + b"\r\n\r\n" + request.body


def chunked(body: bytes) -> bytes:
    """`body` in one chunk and the last."""
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
