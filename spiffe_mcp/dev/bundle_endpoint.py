"""A SPIFFE bundle endpoint: whoever asks gets the bundle of the trust domain, the newest one.

Enters: TLS connections of anybody, for clients are not authenticated (SPIFFE Federation 5.2.1.3, 5.2.2.3).
Leaves: the bundle, to a GET of `/`, and nothing else to anything else. What is served is public: it holds
public keys only. Knows the feed of what the provider stands for; nothing of who follows it.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from spiffe_mcp.dev.bundle_client import Clock
from spiffe_mcp.dev.federation import BundleEndpoint, ShowsCertificate, ShowsSvid
from spiffe_mcp.dev.issuance import Issued
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpServer, Limits, Reply, Request, ResponseHead
from spiffe_mcp.identity.sources.feed import Feed
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.tls.context import load_svid

# A request is a few lines and its answer a few kilobytes: whoever needs more wants something else.
LIMITS: Final = Limits(
    head=8 * 1024, body=0, connections=256, read_timeout=5.0, idle_timeout=15.0, write_timeout=10.0
)
HANDSHAKE_TIMEOUT: Final = 5.0  # seconds

_PATH: Final = b"/"
_BACKLOG: Final = 128
_JSON: Final = (b"content-type", b"application/json")
_NOT_STORED: Final = (b"cache-control", b"no-store")  # an old bundle may hold a key that was revoked since
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_ALLOW: Final = (b"allow", b"GET")


@asynccontextmanager
async def serving(endpoint: BundleEndpoint, feed: Feed[Issued], clock: Clock) -> AsyncIterator[Address]:
    """Serve while inside; yields where.

    Raises `Refused`: LISTEN_FAILED, and FEDERATION_CERTIFICATE for PEM files that cannot be used.
    """
    context = _context(endpoint, feed, clock)
    async with asyncio.TaskGroup() as tasks:
        server, service = HttpServer(tasks, LIMITS), _Bundle(feed)
        listener = _listener(endpoint.address)
        accepting = await asyncio.get_running_loop().create_server(
            lambda: server.connection(service),
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            backlog=_BACKLOG,
        )
        try:
            yield Address(endpoint.address.host, listener.getsockname()[1])
        finally:
            accepting.close()
            server.close()


class _Bundle:
    """The one resource there is."""

    def __init__(self, feed: Feed[Issued]) -> None:
        self._feed = feed

    async def handle(self, request: Request, reply: Reply) -> None:
        """The most up-to-date bundle (5.2.1.3, 5.2.2.3), or why not."""
        if request.path != _PATH:
            await reply.send(ResponseHead(HTTPStatus.NOT_FOUND, (_TEXT,)), b"the bundle is at /\n")
        elif request.method != b"GET":
            await reply.send(ResponseHead(HTTPStatus.METHOD_NOT_ALLOWED, (_TEXT, _ALLOW)), b"GET only\n")
        else:
            head = ResponseHead(HTTPStatus.OK, (_JSON, _NOT_STORED))
            await reply.send(head, self._feed.newest.own.to_json())

    def rejected(self, refused: Refused) -> None:
        """Somebody spoke no HTTP. Strangers may; it leaves no trace that they could fill a disk with."""


class _Shown:
    """The endpoint's SVID as a TLS context: the newest, for every new handshake."""

    def __init__(self, endpoint_id: SpiffeId, feed: Feed[Issued], clock: Clock) -> None:
        self._endpoint_id = endpoint_id
        self._feed = feed
        self._clock = clock
        self._renewed_with: object = None
        self._context: ssl.SSLContext

    def context(self) -> ssl.SSLContext:
        """Made anew whenever the provider issues all SVIDs anew, well before they expire."""
        issued = self._feed.newest
        if issued.svids is not self._renewed_with:
            signing = issued.authorities.signing
            svid = signing.issue(self._endpoint_id, now=self._clock(), ttl=issued.svid_ttl)
            context = _server_context()
            load_svid(context, svid)
            self._context, self._renewed_with = context, issued.svids
        return self._context


def _context(endpoint: BundleEndpoint, feed: Feed[Issued], clock: Clock) -> ssl.SSLContext:
    match endpoint.shows:
        case ShowsSvid(endpoint_id):
            return _rotating(_Shown(endpoint_id, feed, clock))
        case ShowsCertificate() as files:
            return _from_files(files)


def _rotating(shown: _Shown) -> ssl.SSLContext:
    """A context that hands every handshake over to the one of the newest SVID, whole."""
    context = _server_context()

    def newest(tls: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        tls.context = shown.context()

    context.sni_callback = newest  # called for every handshake, with or without a name
    return context


def _from_files(files: ShowsCertificate) -> ssl.SSLContext:
    context = _server_context()
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        what = error.strerror or "not PEM, or a key of another certificate"
        raise Refused(Reason.FEDERATION_CERTIFICATE, f"{files.certificate}, {files.key}: {what}") from None
    return context


def _server_context() -> ssl.SSLContext:
    """TLS 1.2 or newer (section 5: Mozilla's intermediate compatibility). Clients show no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def _listener(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Refused(Reason.LISTEN_FAILED, f"{address}: {error.strerror}") from None
