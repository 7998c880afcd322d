"""What is peculiar to the SPIFFE Broker API; the rest is in tests/integration, with the other sources."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.broker import BrokerSource
from spiffe_mcp.identity.sources.channel import open_channel
from spiffe_mcp.identity.sources.events import Denied, Disconnected
from spiffe_mcp.identity.sources.proto import broker_pb2
from spiffe_mcp.identity.sources.reference import KubernetesReference, PidReference, Reference
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes.mini_ca import NOW
from tests.fakes.streams import Context, FakeServer, Stream
from tests.fakes.watch import Clock, Watch

UID = "5c1d7b3e-93a2-4f4e-8f3a-0d7c1b2a9e55"
POD_BY_UID = KubernetesReference(UID)
POD_BY_NAME_TOO = KubernetesReference(UID, "agents", "planner-0")
POD_BY_NAME = KubernetesReference(namespace="agents", name="planner-0")


class PlainLink:
    """A link without TLS, which `tls.broker_link` adds."""

    def __init__(self, address: str = "", trouble: str = "") -> None:
        self._address = address
        self.trouble = trouble

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        if not self._address:
            raise Refused(Reason.BROKER_NO_IDENTITY)
        async with open_channel(self._address) as channel:
            yield channel


class Recorder(FakeServer):
    """A broker that ends every stream, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "spiffe.broker.API")
        self.asked: list[tuple[bytes, dict[str, str | bytes]]] = []

    def streams(self) -> Mapping[str, Stream]:
        return {"SubscribeToX509SVID": self._answer}

    async def _answer(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.asked.append((request, dict(context.invocation_metadata() or ())))
        yield b""


def watching(link: PlainLink, reference: Reference = POD_BY_UID) -> Watch:
    return Watch(
        lambda hear: BrokerSource(
            link, reference, wanted=FirstOffered(), clock=Clock(NOW), on_event=hear, refresh=timedelta(1)
        )
    )


@pytest.mark.parametrize(
    ("reference", "type_url", "message"),
    [
        (
            PidReference(4711),
            "type.googleapis.com/spiffe.broker.WorkloadPIDReference",
            broker_pb2.WorkloadPIDReference(pid=4711),
        ),
        (
            POD_BY_UID,
            "type.googleapis.com/spiffe.broker.KubernetesObjectReference",
            broker_pb2.KubernetesObjectReference(type={"plural": "pods", "group": "core"}, uid=UID),
        ),
        (
            POD_BY_NAME,
            "type.googleapis.com/spiffe.broker.KubernetesObjectReference",
            broker_pb2.KubernetesObjectReference(
                type={"plural": "pods", "group": "core"}, key={"namespace": "agents", "name": "planner-0"}
            ),
        ),
        (
            POD_BY_NAME_TOO,
            "type.googleapis.com/spiffe.broker.KubernetesObjectReference",
            broker_pb2.KubernetesObjectReference(
                type={"plural": "pods", "group": "core"},
                key={"namespace": "agents", "name": "planner-0"},
                uid=UID,
            ),
        ),
    ],
)
async def test_a_reference_goes_over_the_wire_with_its_type_and_the_security_header(
    tmp_path: Path,
    reference: Reference,
    type_url: str,
    message: broker_pb2.WorkloadPIDReference | broker_pb2.KubernetesObjectReference,
) -> None:
    async with Recorder(tmp_path / "broker.sock") as broker:
        async with watching(PlainLink(broker.address), reference).running() as watch:
            await watch.next(Denied)
        request, metadata = broker.asked[0]
    packed = broker_pb2.SubscribeToX509SVIDRequest.FromString(request).reference.reference
    assert packed.type_url == type_url
    assert packed.value == message.SerializeToString()
    assert metadata["broker.spiffe.io"] == "true"


async def test_without_an_identity_of_its_own_the_agent_holds_no_keys() -> None:
    async with watching(PlainLink()).running() as watch:
        assert (await watch.next(Denied)).reason is Reason.BROKER_NO_IDENTITY
        assert watch.current is None


@pytest.mark.parametrize(
    ("trouble", "says"),
    [("tls.handshake: ALERT", lambda text: text.endswith("(tls.handshake: ALERT)")), ("", str)],
)
async def test_an_outage_says_what_the_link_knows_of_it(
    tmp_path: Path, trouble: str, says: Callable[[str], object]
) -> None:
    link = PlainLink(f"unix://{tmp_path}/none.sock", trouble)
    async with watching(link).running() as watch:
        outage = await watch.next(Disconnected)
        assert outage.code == "UNAVAILABLE"
        assert says(outage.detail)
