# ruff: noqa: N802  the methods are named by the SPIFFE standard's protobuf service
"""The SPIFFE Workload API for callers who are already attested (SPIFFE Workload API sections 4 to 6).

Enters: gRPC calls of one local user, whose registration entries are fixed when the server is made. Leaves:
protobuf messages, or a gRPC status. It cannot confuse two callers, because it only knows one; who that is,
`attested_socket` has found out. Knows nothing of sockets and of how SVIDs are made.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

import grpc.aio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.message import Message
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as pb_grpc

from spiffe_mcp.dev import jwt_svid
from spiffe_mcp.dev.issuance import Entry, Issued
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle
from spiffe_mcp.identity.sources.feed import Feed, FeedClosed
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid

Clock: TypeAlias = Callable[[], datetime]
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"  # a string: generic in its stubs only
M = TypeVar("M", bound=Message)

SECURITY_HEADER: Final = "workload.spiffe.io"
MAX_CONCURRENT_CALLS: Final = 256  # of one local user; more are answered RESOURCE_EXHAUSTED

_DENIED: Final = frozenset({Reason.DEV_NO_IDENTITY})


def server(
    entries: tuple[Entry, ...], feed: Feed[Issued], clock: Clock, jwt_svid_ttl: timedelta
) -> grpc.aio.Server:
    """A gRPC server, not yet bound, for the one user that `entries` belong to; no entry, no identity."""
    made = grpc.aio.server(interceptors=[_SecurityHeader()], maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS)
    servicer = _WorkloadApi(entries, feed, clock, jwt_svid_ttl)
    pb_grpc.add_SpiffeWorkloadAPIServicer_to_server(servicer, made)  # type: ignore[no-untyped-call]  # generated code
    return made


class _WorkloadApi(pb_grpc.SpiffeWorkloadAPIServicer):
    def __init__(
        self, entries: tuple[Entry, ...], feed: Feed[Issued], clock: Clock, jwt_svid_ttl: timedelta
    ) -> None:
        self._entries = entries
        self._feed = feed
        self._clock = clock
        self._jwt_svid_ttl = jwt_svid_ttl

    async def FetchX509SVID(self, _request: pb.X509SVIDRequest, context: Context) -> None:
        await self._stream(context, self._x509_svids)

    async def FetchX509Bundles(self, _request: pb.X509BundlesRequest, context: Context) -> None:
        await self._stream(context, self._x509_bundles)

    async def FetchJWTBundles(self, _request: pb.JWTBundlesRequest, context: Context) -> None:
        await self._stream(context, self._jwt_bundles)

    async def FetchJWTSVID(self, request: pb.JWTSVIDRequest, context: Context) -> pb.JWTSVIDResponse:
        return await _answered(context, lambda: self._jwt_svids(request))

    async def ValidateJWTSVID(
        self, request: pb.ValidateJWTSVIDRequest, context: Context
    ) -> pb.ValidateJWTSVIDResponse:
        return await _answered(context, lambda: self._validated(request))

    async def _stream(self, context: Context, compose: Callable[[Issued], M]) -> None:
        """The whole truth at once and again whenever it changes (section 4.3), until the provider stops."""
        await _answered(context, self._demand_identity)
        seen: Issued | None = None
        sent: M | None = None
        try:
            while True:
                seen = await self._feed.after(seen)
                message = compose(seen)
                if message != sent:
                    await context.write(message)
                sent = message
        except FeedClosed:
            # UNAVAILABLE brings a client back; it takes CANCELLED for the end (Workload Endpoint section 6).
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the provider is stopping")

    def _demand_identity(self) -> None:
        # Default deny: bundles, too, are only for workloads that have an identity.
        if not self._entries:
            raise Refused(Reason.DEV_NO_IDENTITY, "no identity issued")

    def _x509_svids(self, issued: Issued) -> pb.X509SVIDResponse:
        own = _concatenated(issued.own.x509)
        # Each bundle beside the name of its trust domain, never two in one field (section 4.6).
        return pb.X509SVIDResponse(
            svids=[_x509_svid(issued.svids[entry], own) for entry in self._entries],
            federated_bundles=_x509(issued.foreign_to(self._entries)),
        )

    def _x509_bundles(self, issued: Issued) -> pb.X509BundlesResponse:
        return pb.X509BundlesResponse(bundles=_x509(self._bundles(issued)))

    def _jwt_bundles(self, issued: Issued) -> pb.JWTBundlesResponse:
        bundles = self._bundles(issued)
        return pb.JWTBundlesResponse(
            bundles={_id(bundle.trust_domain): bundle.jwt_json() for bundle in bundles}
        )

    def _bundles(self, issued: Issued) -> list[SpiffeBundle]:
        """The bundle of this trust domain, and those that the caller's entries federate with."""
        return [issued.own, *issued.foreign_to(self._entries)]

    def _jwt_svids(self, request: pb.JWTSVIDRequest) -> pb.JWTSVIDResponse:
        wanted = SpiffeId.parse(request.spiffe_id) if request.spiffe_id else None
        entries = [entry for entry in self._entries if wanted in (None, entry.spiffe_id)]
        # An ID of another workload is refused like one that does not exist (section 6.2.1).
        if not entries:
            raise Refused(Reason.DEV_NO_IDENTITY, "no identity issued")
        return pb.JWTSVIDResponse(svids=[self._jwt_svid(entry, list(request.audience)) for entry in entries])

    def _jwt_svid(self, entry: Entry, audience: list[str]) -> pb.JWTSVID:
        signing = self._feed.newest.authorities.signing.jwt
        token = signing.sign(entry.spiffe_id, audience, now=self._clock(), ttl=self._jwt_svid_ttl)
        return pb.JWTSVID(spiffe_id=str(entry.spiffe_id), svid=token, hint=entry.hint)

    def _validated(self, request: pb.ValidateJWTSVIDRequest) -> pb.ValidateJWTSVIDResponse:
        self._demand_identity()
        if not request.audience:
            raise Refused(Reason.JWT_SVID_AUDIENCE, "audience must be specified")
        trusted = [authority.jwt for authority in self._feed.newest.authorities.trusted]
        claims = jwt_svid.verify(request.svid, request.audience, trusted, now=self._clock())
        response = pb.ValidateJWTSVIDResponse(spiffe_id=claims["sub"])
        response.claims.update(claims)
        return response


class _SecurityHeader(grpc.aio.ServerInterceptor):
    """Demands `workload.spiffe.io: true` of every call, whatever it calls (Workload Endpoint section 3).

    The hazard is a local program that can be made to send requests to a socket of an attacker's choice.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        metadata = handler_call_details.invocation_metadata
        if [value for key, value in metadata if key == SECURITY_HEADER] == ["true"]:
            return await continuation(handler_call_details)
        return _HEADER_MISSING


async def _refuse_missing_header(_request: bytes, context: Context) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")


_HEADER_MISSING: Final[Handler] = grpc.unary_unary_rpc_method_handler(_refuse_missing_header)

Answer = TypeVar("Answer")


async def _answered(context: Context, answer: Callable[[], Answer]) -> Answer:
    """What `answer` gives; a refusal becomes a gRPC status here (Workload Endpoint section 6)."""
    try:
        return answer()
    except Refused as refused:
        denied = refused.reason in _DENIED
        code = grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.INVALID_ARGUMENT
        await context.abort(code, refused.detail if denied else str(refused))


def _x509_svid(svid: X509Svid, bundle: bytes) -> pb.X509SVID:
    return pb.X509SVID(
        spiffe_id=str(svid.spiffe_id),
        x509_svid=b"".join(svid.chain_der),
        x509_svid_key=svid.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        bundle=bundle,
        hint=svid.hint,
    )


def _x509(bundles: Iterable[SpiffeBundle]) -> dict[str, bytes]:
    """The X.509 bundles by trust domain, but for those without an authority.

    No bundle and an empty one say the same: nobody (section 4.6; Trust Domain and Bundle section 4.1.3). But
    some clients, py-spiffe among them, cannot read an empty one, and would go on with the one before it.
    """
    return {
        _id(bundle.trust_domain): _concatenated(bundle.x509)
        for bundle in bundles
        if bundle.x509.authorities_der
    }


def _concatenated(bundle: Bundle) -> bytes:
    """The authorities one after another (section 5.1)."""
    return b"".join(bundle.authorities_der)


def _id(trust_domain: TrustDomain) -> str:
    """Bundles are keyed by the SPIFFE ID of the trust domain, not by its name (section 5.1)."""
    return f"spiffe://{trust_domain}"
