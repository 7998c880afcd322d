"""A SPIFFE broker for tests: real gRPC, real mutual TLS, and the behaviour that was measured on SPIRE 1.15.3.

    async with FakeBroker(tmp_path / "broker.sock", ca) as broker:
        broker.offer(PidReference(1), update)           # to the streams of this reference
        broker.of(PidReference(1)).turn_away(grpc.StatusCode.NOT_FOUND)      # it is gone; streams go on

A reference that nobody has said anything of has no identity yet: OK and an empty list, as SPIRE answers. `ca`
is the authority of the broker's own SVID and of the agents that it lets in; it has to live now.
"""

import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import grpc
from cryptography.hazmat.primitives import serialization

from spiffe_mcp.identity.sources.proto import broker_pb2
from spiffe_mcp.identity.sources.reference import KubernetesReference, PidReference, Reference
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.update import SvidPart, Update
from tests.fakes.mini_ca import MiniCa
from tests.fakes.streams import Context, FakeServer, Script, Stream, members

SPIRE_AGENT: Final = "/spire/agent/join_token/fake"  # the kind of ID that SPIRE's broker shows
NOBODY: Final = broker_pb2.SubscribeToX509SVIDResponse().SerializeToString()


def encoded(update: Update) -> bytes:
    """`update` as the broker sends it."""
    svids = [broker_pb2.X509SVID(**members(part)) for part in update.svids]
    response = broker_pb2.SubscribeToX509SVIDResponse(svids=svids, federated_bundles=update.federated)
    return response.SerializeToString()


class FakeBroker(FakeServer):
    """The broker. `callers` holds the SPIFFE ID that each stream's caller has proved."""

    def __init__(self, path: Path, ca: MiniCa, server: str = SPIRE_AGENT) -> None:
        super().__init__(path, "spiffe.broker.API", _credentials(ca, server))
        self._scripts: Mapping[Reference, Script] = defaultdict(lambda: Script(NOBODY))
        self.callers: list[str] = []

    def streams(self) -> Mapping[str, Stream]:
        return {"SubscribeToX509SVID": self._subscribe}

    def of(self, reference: Reference) -> Script:
        """What the streams of this workload are told."""
        return self._scripts[reference]

    def offer(self, reference: Reference, update: Update) -> None:
        """Give the workload these SVIDs; none: it has no identity."""
        self.of(reference).say(encoded(update))

    def attested(self, reference: Reference) -> Script:
        """What a stream of this workload is told that begins now."""
        return self.of(reference)

    async def _subscribe(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.callers += [caller.decode() for caller in context.auth_context()["peer_spiffe_id"]]
        if dict(context.invocation_metadata() or ()).get("broker.spiffe.io") != "true":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        async for message in self.attested(_reference(request)).play(context):
            yield message


class AttestingBroker(FakeBroker):
    """Knows processes by their user, as SPIRE's attestor `unix` does, each time that it is asked for one."""

    def __init__(self, path: Path, ca: MiniCa, identities: Mapping[int, SpiffeId]) -> None:
        super().__init__(path, ca)
        self._ca = ca
        self._identities = dict(identities)
        self._users: dict[Reference, int] = {}

    def attested(self, reference: Reference) -> Script:
        """Its SVID, if its user has one; a process that is gone is INTERNAL, and its older streams go on."""
        assert isinstance(reference, PidReference)
        script = self.of(reference)
        try:
            user = Path(f"/proc/{reference.pid}").stat().st_uid
        except FileNotFoundError:
            script.turn_away(grpc.StatusCode.INTERNAL, "workload attestor failed")
            return script
        if reference not in self._users:
            self._users[reference] = user
            self._offer(reference)
        return script

    async def delete(self, identity: SpiffeId) -> None:
        """Nobody is `identity` any more."""
        for user in [user for user, one in self._identities.items() if one == identity]:
            del self._identities[user]
            self._tell(user)

    async def create(self, identity: SpiffeId, uid: int) -> None:
        """Processes of this user are `identity`."""
        self._identities[uid] = identity
        self._tell(uid)

    def _tell(self, user: int) -> None:
        for reference, its in self._users.items():
            if its == user:
                self._offer(reference)

    def _offer(self, reference: Reference) -> None:
        identity = self._identities.get(self._users[reference])
        self.offer(reference, Update(() if identity is None else (svid_of(self._ca, identity),)))


def svid_of(ca: MiniCa, identity: SpiffeId) -> SvidPart:
    """A new SVID of `identity`, as a sound broker sends it."""
    chain, key = ca.issue_der(identity.path)
    return SvidPart(str(identity), b"".join(chain), key, b"".join(ca.bundle_der))


def _reference(request: bytes) -> Reference:
    packed = broker_pb2.SubscribeToX509SVIDRequest.FromString(request).reference.reference
    process = broker_pb2.WorkloadPIDReference()
    if packed.Unpack(process):
        return PidReference(process.pid)
    named = broker_pb2.KubernetesObjectReference()
    assert packed.Unpack(named), packed.type_url
    return KubernetesReference(
        named.uid, named.key.namespace, named.key.name, named.type.plural, named.type.group
    )


def _credentials(ca: MiniCa, server: str) -> grpc.ServerCredentials:
    svid = ca.issue(server)
    key = svid.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = "".join(map(ssl.DER_cert_to_PEM_cert, svid.chain_der)).encode()
    roots = "".join(map(ssl.DER_cert_to_PEM_cert, ca.bundle_der)).encode()
    return grpc.ssl_server_credentials([(key, chain)], root_certificates=roots, require_client_auth=True)
