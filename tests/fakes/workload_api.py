"""A SPIFFE Workload API for tests: a real gRPC server on a Unix socket, which does what the test tells it.

    async with FakeWorkloadApi(tmp_path / "api.sock") as api:
        api.push(message([svid_part(ca, "/w")], {"b.test": other.bundle_der}))
        api.deny()                     # PERMISSION_DENIED to everybody, now and until the next push
        await api.stop()               # the socket is gone
        await api.start()              # and back, on the same path

What is pushed goes to every open stream, and first of all to every new one, as the standard wants it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
from spiffe._proto import workload_pb2

from spiffe_mcp.identity.update import Update
from tests.fakes.mini_ca import HOUR, MiniCa
from tests.fakes.streams import Context, FakeServer, Script, Stream, members

METHOD = "FetchX509SVID"


def svid_part(
    ca: MiniCa, path: str = "/w", lifetime: timedelta = HOUR, **changes: object
) -> workload_pb2.X509SVID:
    """One SVID of a message as a sound server sends it; `changes` are fields to get wrong."""
    chain, key = ca.issue_der(path, lifetime=lifetime)
    part = workload_pb2.X509SVID(
        spiffe_id=f"spiffe://{ca.trust_domain}{path}",
        x509_svid=b"".join(chain),
        x509_svid_key=key,
        bundle=b"".join(ca.bundle_der),
    )
    for name, value in changes.items():
        setattr(part, name, value)
    return part


def message(
    svids: Sequence[workload_pb2.X509SVID], federated: Mapping[str, Iterable[bytes]] | None = None
) -> bytes:
    """A message of these SVIDs and foreign bundles (keyed by trust domain name), as it goes over the wire."""
    bundles = {f"spiffe://{name}": b"".join(der) for name, der in (federated or {}).items()}
    response = workload_pb2.X509SVIDResponse(svids=svids, federated_bundles=bundles)
    return bytes(response.SerializeToString())


def encoded(update: Update) -> bytes:
    """`update` as it goes over the wire."""
    svids = [workload_pb2.X509SVID(**members(part)) for part in update.svids]
    response = workload_pb2.X509SVIDResponse(svids=svids, federated_bundles=update.federated)
    return bytes(response.SerializeToString())


class FakeWorkloadApi(FakeServer):
    """The server. `metadata` holds what each caller sent, one mapping a stream."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "SpiffeWorkloadAPI")
        self._asked = asyncio.Event()
        self.script = Script()
        self.metadata: list[dict[str, str | bytes]] = []

    def streams(self) -> Mapping[str, Stream]:
        return {METHOD: self._fetch}

    async def asked(self) -> None:
        """Wait for the next stream to be opened."""
        await self._asked.wait()

    def push(self, response: bytes) -> None:
        """Send this to everybody."""
        self.script.say(response)

    def deny(self, code: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED) -> None:
        """End every stream with `code`, and answer new ones with it."""
        self.script.end(code)

    def deny_once(self) -> None:
        """End every stream with PERMISSION_DENIED, and say nothing to new ones until the next push."""
        self.script.end_open(grpc.StatusCode.PERMISSION_DENIED)

    async def _fetch(self, _request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self._asked.set()
        self._asked = asyncio.Event()
        async for message in self.script.play(context):
            yield message
