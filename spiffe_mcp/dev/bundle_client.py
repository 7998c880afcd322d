"""Fetching one bundle from one endpoint, once (SPIFFE Federation sections 5.2.1.4 and 5.2.2.4).

Enters: a relationship, the bundles of this moment, the time. Leaves: the bundle that the endpoint served,
read as its configured trust domain's, or a `Refused`. Whether it is taken is `federation`'s question, when to
ask again is `federator`'s. Nothing is sent before the endpoint has proved that it is the configured one:

 (1) `https_web`: a certificate for the host of the URL, by a trusted authority (5.2.1.4, RFC 6125);
 (2) `https_spiffe`: an X.509-SVID with exactly the endpoint's SPIFFE ID, verified with the latest bundle of
     that ID's own trust domain (5.2.2.4) by the mesh's own `verify_chain`; the host's name proves nothing;
 (3) one GET, without credentials; the answer is a 200. A redirect is an answer like any other: it is never
     followed, so that whom we ask is decided here alone (7.5.1 leaves that to the client);
 (4) all of it within a bound of bytes and of time.
"""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Final

from spiffe_mcp.dev.federation import FederatesWith, HttpsWeb
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.identity import AllowedIds, BundleSet, SpiffeId, verify_chain
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.tls.session import unverified_chain

MAX_BYTES: Final = 1024 * 1024  # of an answer: hundreds of authorities
TIMEOUT: Final = 20.0  # seconds for all of it

_OK: Final = 200
_HEADERS: Final = ((b"accept", b"application/json"), (b"accept-encoding", b"identity"))

Clock = Callable[[], datetime]


async def fetch(relationship: FederatesWith, bundles: BundleSet, clock: Clock) -> SpiffeBundle:
    """The bundle that the endpoint of `relationship` serves now.

    Raises `Refused`: FEDERATION_*, what `verify_chain` and `AllowedIds` raise of the endpoint's SVID,
    UPSTREAM_BROKEN, and what `SpiffeBundle.from_json` raises.
    """
    context = _context(relationship, bundles, clock)
    try:
        async with asyncio.timeout(TIMEOUT):  # (4)
            document = await _get(relationship, context)
    except TimeoutError:
        raise Refused(
            Reason.FEDERATION_UNREACHABLE, f"{relationship.url}: not within {TIMEOUT:g} s"
        ) from None
    return SpiffeBundle.from_json(relationship.trust_domain, document)


async def _get(relationship: FederatesWith, context: ssl.SSLContext) -> bytes:
    """The body of the answer (3)."""
    url = relationship.url
    request = Request(b"GET", url.target.encode(), ((b"host", str(url.address).encode()), *_HEADERS))
    connection = await _connected(relationship, context)
    try:
        head = await connection.exchange(request)
        if head.status != _OK:
            raise Refused(Reason.FEDERATION_ANSWER, f"{url}: status {head.status}")
        return await _bounded_body(connection)
    finally:
        connection.abort()


async def _bounded_body(connection: ClientConnection) -> bytes:
    body = bytearray()
    while chunk := await connection.read():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(Reason.FEDERATION_ANSWER, f"more than {MAX_BYTES} bytes")
    return bytes(body)


async def _connected(relationship: FederatesWith, context: ssl.SSLContext) -> ClientConnection:
    """A connection to an endpoint that has proved itself."""
    url = relationship.url
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            ClientConnection,
            url.address.host,
            url.address.port,
            ssl=context,
            server_hostname=url.address.host,
        )
    except ssl.SSLError as error:
        raise _refusal(error, url.address.host) from None
    except OSError as error:
        raise Refused(Reason.FEDERATION_UNREACHABLE, f"{url}: {type(error).__name__}") from None
    return connection


def _refusal(error: ssl.SSLError, host: str) -> Refused:
    """Why the endpoint was not believed: our own verifier's reason, or OpenSSL's words."""
    if isinstance(error.__cause__, Refused):
        return error.__cause__
    words = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
    return Refused(Reason.FEDERATION_ENDPOINT, f"{host}: {words or 'broken TLS'}")


def _context(relationship: FederatesWith, bundles: BundleSet, clock: Clock) -> ssl.SSLContext:
    profile = relationship.profile
    if isinstance(profile, HttpsWeb):
        return _web_context(profile)
    return _spiffe_context(profile.endpoint_id, bundles, clock)


def _web_context(profile: HttpsWeb) -> ssl.SSLContext:
    """(1) Chain and host name, by the standard library; TLS 1.2 or newer, as Mozilla's profile has it (5)."""
    try:
        context = ssl.create_default_context(cafile=profile.authorities)
    except OSError as error:
        what = error.strerror or "no PEM certificates"
        raise Refused(Reason.FEDERATION_RELATIONSHIP, f"{profile.authorities}: {what}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _spiffe_context(endpoint_id: SpiffeId, bundles: BundleSet, clock: Clock) -> ssl.SSLContext:
    """(2) In the handshake itself, so that no connection exists to an endpoint that is somebody else.

    A context is made for each fetch and lives no longer: no session of an earlier one can be resumed.
    """
    bundle = bundles.get(endpoint_id.trust_domain)
    if bundle is None:
        raise Refused(Reason.BUNDLE_UNKNOWN, str(endpoint_id.trust_domain))
    if not bundle.anchors:  # an empty bundle means nobody; that endpoint included
        raise Refused(Reason.BUNDLE_EMPTY, str(endpoint_id.trust_domain))
    expected = AllowedIds.only(endpoint_id)

    class Endpoint(ssl.SSLObject):
        """TLS with one SPIFFE ID."""

        def do_handshake(self) -> None:
            """Complete the handshake, or end it with an `ssl.SSLError` whose cause is the refusal."""
            super().do_handshake()
            try:
                expected.authorize(verify_chain(unverified_chain(self), bundles, clock()))
            except Refused as refused:
                raise ssl.SSLCertVerificationError(str(refused)) from refused

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name that counts is the SPIFFE ID
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL's own check stays on as the outer fence, with the authorities of that one trust domain.
    context.load_verify_locations(cadata=b"".join(bundle.authorities_der))
    context.sslobject_class = Endpoint
    return context
