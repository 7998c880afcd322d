"""The SPIFFE Workload API as a source of identity: a watcher that outlives the agent it watches.

Room: the one place that speaks gRPC to a SPIFFE agent. Enters: messages of `FetchX509SVID` on a Unix socket.
Leaves: `IdentityState`s through an `IdentityFeed`, and events. What a message is worth is decided by
`identity.update`, which is pure; this module connects, listens, and connects again.

The stream is our own, on the protobuf messages of `spiffe`: that package's client stops for good at the first
malformed part, and waits up to two minutes to reconnect.
"""

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from spiffe._proto import workload_pb2
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Rejected, SourceEvent, Updated
from spiffe_mcp.identity.sources.feed import IdentityFeed
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update, apply

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # a message carries every federated bundle
CONNECT_TIMEOUT_MS: Final = 5_000
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 0.9  # so that an outage ends for us within a second of its end

_METHOD: Final = "/SpiffeWorkloadAPI/FetchX509SVID"
# Workload Endpoint section 4: no authority, an absolute path, nothing else.
_ADDRESS: Final = re.compile(r"unix:///[^?#\x00-\x20]+")
# Workload Endpoint section 3: without it, the answer is INVALID_ARGUMENT.
_METADATA: Final = (("workload.spiffe.io", "true"),)
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),  # its meaning in gRPC: the time for one attempt
    # Channels to the same socket would share one back-off, of up to two minutes, beneath ours.
    ("grpc.use_local_subchannel_pool", 1),
)

_Fetch: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[workload_pb2.X509SVIDRequest, bytes]"


class _StreamLostError(Exception):
    """The stream is gone, for a reason that has been reported and that may pass."""


class WorkloadApiSource:
    """Keeps the newest identity that the Workload API at `socket` gives this process.

    `socket` is `unix:///path`; it may appear later than we do. `spiffe_id` says which of several SVIDs to
    take; None takes the first. `clock` gives the time at which an update is judged, aware.
    `on_event` is called for everything that an operator wants to know, and must not block.
    """

    def __init__(
        self,
        socket: str,
        *,
        spiffe_id: SpiffeId | None,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
    ) -> None:
        if not _ADDRESS.fullmatch(socket):
            raise Refused(Reason.WORKLOAD_API_ADDRESS, f"{socket[:200]!a} is not unix:///path")
        self._socket = socket
        self._wanted = spiffe_id
        self._clock = clock
        self._on_event = on_event
        self._feed = IdentityFeed()
        self._outage: str | None = None  # the status code of the outage that was reported last

    @property
    def current(self) -> IdentityState | None:
        """The newest state; None before the first, and after the identity was withdrawn."""
        return self._feed.current

    async def wait_ready(self) -> IdentityState:
        """The current state, as soon as there is one. A deadline is the caller's to set."""
        return await self._feed.wait_ready()

    def states(self) -> AsyncIterator[IdentityState | None]:
        """The current state, and the newest one after each change, for ever."""
        return self._feed.states()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises `Refused(WORKLOAD_API_REJECTED)` if the request is called invalid: clients SHOULD NOT retry
        (Workload Endpoint section 6). Everything else is waited out.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_StreamLostError),
            # Full jitter: the workloads of a node do not come back in step after their agent did.
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        )
        await retrying(self._watch)

    async def _watch(self) -> NoReturn:
        """Follow one stream to its end, on a channel of its own: a new one has no back-off to sit out."""
        async with grpc.aio.insecure_channel(self._socket, options=_CHANNEL_OPTIONS) as channel:
            # Messages stay bytes here: where gRPC decodes, a malformed one is logged and becomes None.
            fetch: _Fetch = channel.unary_stream(
                _METHOD, request_serializer=_serialized, response_deserializer=None
            )
            try:
                async for message in fetch(workload_pb2.X509SVIDRequest(), metadata=_METADATA):
                    self._outage = None
                    self._take(message)
            except grpc.aio.AioRpcError as error:
                self._lose(error.code(), _printable(error.details()))
            else:
                self._lose(grpc.StatusCode.OK, "the stream was ended")
        raise _StreamLostError

    def _take(self, message: bytes) -> None:
        """Put in force what is good of one message, and report what is not."""
        try:
            applied = apply(_decoded(message), self.current, self._wanted, self._clock())
        except DecodeError:
            self._on_event(PartRefused("message", Reason.WORKLOAD_API_MALFORMED, "not an X509SVIDResponse"))
        except Refused as withdrawn:
            self._withdraw()
            self._on_event(Denied(withdrawn.reason, withdrawn.detail))
        else:
            for refused in applied.refused:
                self._on_event(refused)
            self._publish(applied.state)

    def _publish(self, state: IdentityState | None) -> None:
        if state is not None and state != self.current:
            self._feed.publish(state)
            self._on_event(Updated(state))

    def _withdraw(self) -> None:
        """Cease using the identity (Workload API section 5.2.1)."""
        if self.current is not None:
            self._feed.publish(None)

    def _lose(self, code: grpc.StatusCode, detail: str) -> None:
        """React to the end of a stream (Workload Endpoint section 6); an outage is reported once."""
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            self._on_event(Rejected(detail))
            raise Refused(Reason.WORKLOAD_API_REJECTED, detail)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            self._withdraw()
        if code.name != self._outage:
            self._outage = code.name
            self._on_event(_event_of(code, detail))


def _event_of(code: grpc.StatusCode, detail: str) -> SourceEvent:
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return Denied(Reason.WORKLOAD_API_DENIED, detail)
    return Disconnected(code.name, detail)


def _serialized(request: workload_pb2.X509SVIDRequest) -> bytes:
    return request.SerializeToString()


def _decoded(message: bytes) -> Update:
    """The parts of one message, still unread; raises `DecodeError`."""
    response = workload_pb2.X509SVIDResponse.FromString(message)
    svids = tuple(
        SvidPart(svid.spiffe_id, svid.x509_svid, svid.x509_svid_key, svid.bundle, svid.hint)
        for svid in response.svids
    )
    return Update(svids, dict(response.federated_bundles))


def _printable(detail: str | None) -> str:
    """What the other side says, as it may stand in a log line: bounded, control characters escaped."""
    return ascii((detail or "")[:200])
