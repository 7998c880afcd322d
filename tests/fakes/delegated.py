"""SPIRE's Delegated Identity API for tests: real gRPC, and the behaviour of SPIRE 1.15.3.

    async with FakeDelegated(tmp_path / "admin.sock") as api:
        api.offer(4711, update)                    # to the streams of this process, and to those of bundles
        api.of(4711).turn_away(*NOT_ATTESTED)      # the process is gone; open streams go on

As SPIRE's, it tells every caller all bundles that it has, and goes on to tell an open stream those that it
has no more. A process that nobody has said anything of has no identity yet: OK and an empty list.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from spiffe_mcp.identity.sources.proto import delegated_identity_pb2 as pb
from spiffe_mcp.identity.update import SvidPart, Update
from tests.fakes.streams import Context, FakeServer, Script, Stream

NOT_ATTESTED: Final = (grpc.StatusCode.UNAVAILABLE, "workload attestation failed")
NOBODY: Final = pb.SubscribeToX509SVIDsResponse().SerializeToString()
SERVICE: Final = "spire.api.agent.delegatedidentity.v1.DelegatedIdentity"


def encoded(update: Update) -> bytes:
    """The SVIDs of `update` as SPIRE sends them, without bundles."""
    return pb.SubscribeToX509SVIDsResponse(
        x509_svids=map(_svid, update.svids), federates_with=update.federated
    ).SerializeToString()


def _svid(part: SvidPart) -> pb.X509SVIDWithKey:
    trust_domain, _, path = part.spiffe_id.removeprefix("spiffe://").partition("/")
    spiffe_id = pb.SPIFFEID(trust_domain=trust_domain, path=f"/{path}")
    svid = pb.X509SVID(cert_chain=[part.chain], id=spiffe_id, hint=part.hint)
    return pb.X509SVIDWithKey(x509_svid=svid, x509_svid_key=part.key)


class FakeDelegated(FakeServer):
    """The admin socket of a SPIRE agent. `bundles` are those of other workloads, by trust domain."""

    def __init__(self, path: Path, bundles: Mapping[str, bytes] | None = None) -> None:
        super().__init__(path, SERVICE)
        self._scripts: Mapping[int, Script] = defaultdict(lambda: Script(NOBODY))
        self._others = {f"spiffe://{name}": der for name, der in (bundles or {}).items()}
        self.bundles = Script(self._encoded({}))

    def streams(self) -> Mapping[str, Stream]:
        return {"SubscribeToX509SVIDs": self._svids, "SubscribeToX509Bundles": self._bundles}

    def of(self, pid: int) -> Script:
        """What the streams of this process are told."""
        return self._scripts[pid]

    def offer(self, pid: int, update: Update) -> None:
        """Give the process these SVIDs, and the agent their bundles; none: it has no identity."""
        own = {f"spiffe://{part.spiffe_id.split('/')[2]}": part.bundle for part in update.svids}
        self.bundles.say(self._encoded({**update.federated, **own}))
        self.of(pid).say(encoded(update))

    def _encoded(self, bundles: Mapping[str, bytes]) -> bytes:
        response = pb.SubscribeToX509BundlesResponse(ca_certificates={**self._others, **bundles})
        return response.SerializeToString()

    async def _svids(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        pid = pb.SubscribeToX509SVIDsRequest.FromString(request).pid
        async for message in self.of(pid).play(context):
            yield message

    async def _bundles(self, _request: bytes, context: Context) -> AsyncIterator[bytes]:
        told: dict[str, bytes] = {}
        async for message in self.bundles.play(context):
            try:
                told |= pb.SubscribeToX509BundlesResponse.FromString(message).ca_certificates
            except DecodeError:
                yield message
            else:
                yield pb.SubscribeToX509BundlesResponse(ca_certificates=told).SerializeToString()
