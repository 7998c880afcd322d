"""SPIRE's Delegated Identity API as a source of identity: the SVID and bundles of one process on this node.

Room: what is peculiar to this API on top of `watcher`. Enters: two streams on the SPIRE agent's admin socket,
the SVIDs of one process and all bundles of the agent. Leaves: `Update`s, still unread, that hold the bundles
which are this workload's and no others.

What was read and seen of SPIRE 1.15.3, and how it is met here (ADR 0012):
 - only a process is ever asked for: selectors would be believed as they are;
 - a process that is gone or cannot be attested is UNAVAILABLE with a text of its own, which is no outage;
 - a stream outlives its process, and a stream of bundles goes on to send those of trust domains that are no
   longer federated. So the watcher asks afresh for both every few seconds.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.channel import checked_address, messages, open_channel
from spiffe_mcp.identity.sources.events import Denied, Ending, SourceEvent
from spiffe_mcp.identity.sources.held import Message, NotIssued
from spiffe_mcp.identity.sources.proto import delegated_identity_pb2 as pb
from spiffe_mcp.identity.sources.reference import PidReference
from spiffe_mcp.identity.sources.status import ending_for_a_workload
from spiffe_mcp.identity.sources.watcher import REFRESH, Watcher
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update
from spiffe_mcp.identity.wanted import Wanted

_SERVICE: Final = "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity"
_SVIDS: Final = f"{_SERVICE}/SubscribeToX509SVIDs"
_BUNDLES: Final = f"{_SERVICE}/SubscribeToX509Bundles"
# The one thing that tells a process which is gone from a SPIRE agent which is; see ADR 0012.
_NOT_ATTESTED: Final = "workload attestation failed"


class DelegatedSource(Watcher):
    """Keeps the newest identity that the SPIRE agent behind the admin socket gives of the process `pid`.

    `socket` is `unix:///path`. `wanted`, `clock`, `on_event` and `refresh` are those of `Watcher`. It never
    ends because its process does: it drops the keys and asks on, for as long as it is run. Whoever runs it
    holds a pidfd of the process: its number is given to another.
    """

    def __init__(
        self,
        socket: str,
        pid: int,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
        refresh: timedelta = REFRESH,
    ) -> None:
        api = _DelegatedApi(checked_address(socket, Reason.DELEGATED_ADDRESS), PidReference(pid))
        super().__init__(api, wanted=wanted, clock=clock, on_event=on_event, refresh=refresh)


class _DelegatedApi:
    def __init__(self, socket: str, process: PidReference) -> None:
        self._socket = socket
        self._request = pb.SubscribeToX509SVIDsRequest(pid=process.pid).SerializeToString()

    async def follow(self, take: Callable[[Message], None]) -> None:
        """Both streams, until the first of them ends: neither is worth anything without the other."""
        halves = _Halves(take)
        async with open_channel(self._socket) as channel, asyncio.TaskGroup() as tasks:
            streams = [
                tasks.create_task(_stream(channel, _SVIDS, self._request, halves.take_svids)),
                tasks.create_task(_stream(channel, _BUNDLES, b"", halves.take_bundles)),
            ]
            ended, others = await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
        lost = next(stream for stream in streams if stream in ended).result()
        if lost is not None:
            raise lost

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        if code is grpc.StatusCode.UNAVAILABLE and _NOT_ATTESTED in detail:
            return Denied(Reason.WORKLOAD_NOT_FOUND, detail)
        denied, rejected = Reason.DELEGATED_DENIED, Reason.DELEGATED_REJECTED
        return ending_for_a_workload(code, detail, denied=denied, rejected=rejected)


async def _stream(
    channel: grpc.aio.Channel, method: str, request: bytes, take: Callable[[bytes], None]
) -> grpc.aio.AioRpcError | None:
    """Follow one stream; returns what ended it, None for a good end."""
    try:
        async for message in messages(channel, method, request):
            take(message)
    except grpc.aio.AioRpcError as error:
        return error
    return None


class _Halves:
    """The newest message of each stream; what they say together is handed on whenever one changes."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take
        self._svids: pb.SubscribeToX509SVIDsResponse | None = None
        self._bundles: Mapping[str, bytes] | None = None

    def take_svids(self, message: bytes) -> None:
        try:
            self._svids = pb.SubscribeToX509SVIDsResponse.FromString(message)
        except DecodeError:
            self._refuse("SubscribeToX509SVIDsResponse")
        else:
            self._join()

    def take_bundles(self, message: bytes) -> None:
        try:
            response = pb.SubscribeToX509BundlesResponse.FromString(message)
        except DecodeError:
            self._refuse("SubscribeToX509BundlesResponse")
        else:
            self._bundles = {_name(name): der for name, der in response.ca_certificates.items()}
            self._join()

    def _refuse(self, kind: str) -> None:
        self._take(PartRefused("message", Reason.DELEGATED_MALFORMED, f"not a {kind}"))

    def _join(self) -> None:
        if self._svids is None:
            return
        if not self._svids.x509_svids:
            self._take(NotIssued())
        elif self._bundles is not None:
            self._take(_update(self._svids, self._bundles))


def _update(svids: pb.SubscribeToX509SVIDsResponse, bundles: Mapping[str, bytes]) -> Update:
    """The SVIDs, each beside the bundle of its trust domain, and the bundles that this workload may use.

    The agent tells us every bundle it has. Those that the workload does not federate with are not its own.
    """
    federates_with = set(map(_name, svids.federates_with)) & bundles.keys()
    federated = {f"spiffe://{name}": bundles[name] for name in federates_with}
    return Update(tuple(_part(svid, bundles) for svid in svids.x509_svids), federated)


def _part(svid: pb.X509SVIDWithKey, bundles: Mapping[str, bytes]) -> SvidPart:
    trust_domain, path = svid.x509_svid.id.trust_domain, svid.x509_svid.id.path
    return SvidPart(
        spiffe_id=f"spiffe://{trust_domain}/{path.removeprefix('/')}",
        chain=b"".join(svid.x509_svid.cert_chain),
        key=svid.x509_svid_key,
        bundle=bundles.get(trust_domain, b""),
        hint=svid.x509_svid.hint,
    )


def _name(trust_domain: str) -> str:
    """SPIRE spells trust domains as IDs here, and calls them names."""
    return trust_domain.removeprefix("spiffe://")
