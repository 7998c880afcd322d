"""The SPIFFE Broker API as a source of identity: the SVID and bundles of one workload on this node.

Room: what is peculiar to this API on top of `watcher`. Enters: messages of `SubscribeToX509SVID` for one
reference, over a link that has proved who is at both ends. Leaves: `Update`s, still unread. The link is
injected: it takes the agent's own SVID and TLS, which are above this room.

What was seen on SPIRE 1.15.3, and how it is met here (ADR 0012):
 - an empty list is no error: the workload has no identity yet, or no longer;
 - a stream outlives its workload and the right to it, so the watcher asks afresh every few seconds;
 - a process that is gone or cannot be attested is INTERNAL, not NOT_FOUND. So every status that is not an
   outage drops this workload's keys: fail closed.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, Protocol

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.channel import messages
from spiffe_mcp.identity.sources.events import Ending, SourceEvent
from spiffe_mcp.identity.sources.held import Message, NotIssued
from spiffe_mcp.identity.sources.proto import broker_pb2
from spiffe_mcp.identity.sources.reference import PidReference, Reference
from spiffe_mcp.identity.sources.status import ending_for_a_workload
from spiffe_mcp.identity.sources.watcher import REFRESH, Watcher
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update
from spiffe_mcp.identity.wanted import Wanted

_METHOD: Final = "/spiffe.broker.API/SubscribeToX509SVID"
# Broker Endpoint: without it, the answer is INVALID_ARGUMENT.
_METADATA: Final = (("broker.spiffe.io", "true"),)


class BrokerLink(Protocol):
    """The way to the broker that all workloads of this agent share."""

    def channel(self) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        """A channel at whose end the broker has proved its SPIFFE ID, and we ours.

        Raises `Refused(BROKER_NO_IDENTITY)` while the agent has no identity of its own.
        """

    @property
    def trouble(self) -> str:
        """Why the newest connection could not be made or broke, which gRPC does not know."""


class BrokerSource(Watcher):
    """Keeps the newest identity that the broker gives of the workload at `reference`.

    `wanted`, `clock`, `on_event` and `refresh` are those of `Watcher`. It never ends because its workload
    does: it drops the keys and asks on, for as long as it is run.
    """

    def __init__(
        self,
        link: BrokerLink,
        reference: Reference,
        *,
        wanted: Wanted,
        clock: Callable[[], datetime],
        on_event: Callable[[SourceEvent], None],
        refresh: timedelta = REFRESH,
    ) -> None:
        super().__init__(
            _BrokerApi(link, reference), wanted=wanted, clock=clock, on_event=on_event, refresh=refresh
        )


class _BrokerApi:
    def __init__(self, link: BrokerLink, reference: Reference) -> None:
        self._link = link
        self._request = _request(reference)

    async def follow(self, take: Callable[[Message], None]) -> None:
        async with self._link.channel() as channel:
            async for message in messages(channel, _METHOD, self._request, _METADATA):
                take(_read(message))

    def ending(self, code: grpc.StatusCode, detail: str) -> Ending:
        if code is grpc.StatusCode.UNAVAILABLE and self._link.trouble:
            detail = f"{detail} ({self._link.trouble})"
        denied, rejected = Reason.BROKER_DENIED, Reason.BROKER_REJECTED
        return ending_for_a_workload(code, detail, denied=denied, rejected=rejected)


def _request(reference: Reference) -> bytes:
    packed = Any()
    packed.Pack(_reference(reference))
    request = broker_pb2.SubscribeToX509SVIDRequest(reference=broker_pb2.WorkloadReference(reference=packed))
    return request.SerializeToString()


def _reference(
    reference: Reference,
) -> broker_pb2.WorkloadPIDReference | broker_pb2.KubernetesObjectReference:
    if isinstance(reference, PidReference):
        return broker_pb2.WorkloadPIDReference(pid=reference.pid)
    kind = broker_pb2.KubernetesObjectType(plural=reference.plural, group=reference.group)
    key = broker_pb2.KubernetesObjectKey(namespace=reference.namespace, name=reference.name)
    return broker_pb2.KubernetesObjectReference(
        type=kind, key=key if reference.name else None, uid=reference.uid
    )


def _read(message: bytes) -> Message:
    try:
        response = broker_pb2.SubscribeToX509SVIDResponse.FromString(message)
    except DecodeError:
        return PartRefused("message", Reason.BROKER_MALFORMED, "not a SubscribeToX509SVIDResponse")
    svids = tuple(
        SvidPart(svid.spiffe_id, svid.x509_svid, svid.x509_svid_key, svid.bundle, svid.hint)
        for svid in response.svids
    )
    return Update(svids, dict(response.federated_bundles)) if svids else NotIssued()
