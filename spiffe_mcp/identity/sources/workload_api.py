"""The SPIFFE Workload API as a source of identity: the agent's own SVID and bundles.

Room: what is peculiar to this API on top of `watcher`. Enters: messages of `FetchX509SVID` on a Unix socket.
Leaves: `Update`s, still unread. Messages and stream are our own: ADR 0002.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.channel import checked_address, messages, open_channel
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Ending, Rejected, SourceEvent
from spiffe_mcp.identity.sources.held import Message
from spiffe_mcp.identity.sources.proto import workload_pb2
from spiffe_mcp.identity.sources.watcher import Watcher
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update
from spiffe_mcp.identity.wanted import Wanted

_METHOD: Final = "/SpiffeWorkloadAPI/FetchX509SVID"
# Workload Endpoint section 3: without it, the answer is INVALID_ARGUMENT.
_METADATA: Final = (("workload.spiffe.io", "true"),)


class WorkloadApiSource(Watcher):
    """Keeps the newest identity that the Workload API at `socket` gives this process.

    `socket` is `unix:///path`; it may appear later than we do. `wanted`, `clock` and `on_event` are those of
    `Watcher`.
    """

    def __init__(
        self,
        socket: str,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
    ) -> None:
        api = _WorkloadApi(checked_address(socket, Reason.WORKLOAD_API_ADDRESS))
        super().__init__(api, wanted=wanted, clock=clock, on_event=on_event, refresh=None)


class _WorkloadApi:
    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def follow(self, take: Callable[[Message], None]) -> None:
        async with aclosing(_messages(self._socket)) as offered:
            async for message in offered:
                take(message)

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        """Workload Endpoint section 6. Our SVID is withdrawn by one code only; all else may pass."""
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return Rejected(Reason.WORKLOAD_API_REJECTED, detail)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return Denied(Reason.WORKLOAD_API_DENIED, detail)
        return Disconnected(code.name, detail)


async def ask_once(socket: str) -> Message:
    """The first message that the API at `socket` has for this process, unjudged, for whoever only looks.

    Raises `grpc.aio.AioRpcError` if there is none.
    """
    async with aclosing(_messages(socket)) as answers:
        return await anext(answers, PartRefused("message", Reason.WORKLOAD_API_INCOMPLETE, "none came"))


async def _messages(socket: str) -> AsyncGenerator[Message, None]:
    request = workload_pb2.X509SVIDRequest().SerializeToString()
    async with open_channel(socket) as channel:
        async for message in messages(channel, _METHOD, request, _METADATA):
            yield _read(message)


def _read(message: bytes) -> Message:
    try:
        response = workload_pb2.X509SVIDResponse.FromString(message)
    except DecodeError:
        return PartRefused("message", Reason.WORKLOAD_API_MALFORMED, "not an X509SVIDResponse")
    svids = tuple(
        SvidPart(svid.spiffe_id, svid.x509_svid, svid.x509_svid_key, svid.bundle, svid.hint)
        for svid in response.svids
    )
    return Update(svids, dict(response.federated_bundles))
