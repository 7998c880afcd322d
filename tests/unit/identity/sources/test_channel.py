"""gRPC over a Unix socket: addresses, raw messages, and one channel for several."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.channel import SharedChannel, checked_address, messages, open_channel
from tests.fakes.workload_api import FakeWorkloadApi

METHOD = "/SpiffeWorkloadAPI/FetchX509SVID"
NOT_ADDRESSES = [
    "",
    "/run/x.sock",
    "unix:x.sock",
    "unix://host/x.sock",
    "tcp://127.0.0.1:1",
    "unix:///x?y",
    "unix:///x\n",
]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeWorkloadApi]:
    async with FakeWorkloadApi(tmp_path / "api.sock") as api:
        yield api


async def ask(shared: SharedChannel, used: list[grpc.aio.Channel]) -> bytes:
    """The first message; notes the channel that it was asked for on."""
    async with shared.use() as channel:
        used.append(channel)
        return await anext(messages(channel, METHOD, b""))


@pytest.mark.parametrize("address", NOT_ADDRESSES)
@pytest.mark.parametrize(
    "reason", [Reason.WORKLOAD_API_ADDRESS, Reason.BROKER_ADDRESS, Reason.DELEGATED_ADDRESS]
)
def test_what_is_no_absolute_unix_socket_is_refused(address: str, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        checked_address(address, reason)
    assert refused.value.reason is reason
    assert "\n" not in refused.value.detail


def test_an_absolute_unix_socket_is_taken_as_it_is() -> None:
    assert checked_address("unix:///run/x.sock", Reason.BROKER_ADDRESS) == "unix:///run/x.sock"


async def test_messages_come_as_they_went_over_the_wire(api: FakeWorkloadApi) -> None:
    api.push(b"\xff not protobuf")
    async with open_channel(api.address) as channel:
        stream = messages(channel, METHOD, b"", (("workload.spiffe.io", "true"),))
        assert await anext(stream) == b"\xff not protobuf"
        await stream.aclose()
    assert api.metadata[0]["workload.spiffe.io"] == "true"


async def test_those_who_come_together_share_a_channel_until_it_is_renewed(api: FakeWorkloadApi) -> None:
    shared = SharedChannel(api.address)
    async with shared.use() as first, shared.use() as second:
        assert first is second
        await shared.renew()
        async with shared.use() as third:
            assert third is not first
        api.push(b"x")
        assert await anext(messages(first, METHOD, b"")) == b"x"  # whoever was on the old one keeps it
    with pytest.raises(grpc.aio.UsageError):
        await anext(messages(first, METHOD, b""))  # and the last has closed it
    await shared.renew()


async def test_a_channel_on_which_nobody_answers_is_not_used_again(tmp_path: Path) -> None:
    shared = SharedChannel(f"unix://{tmp_path}/none.sock")
    used: list[grpc.aio.Channel] = []
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(shared, used)
    assert used[0] is not used[1]


async def test_a_refusal_does_not_cost_the_others_their_channel(api: FakeWorkloadApi) -> None:
    shared = SharedChannel(api.address)
    api.deny()
    used: list[grpc.aio.Channel] = []
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(shared, used)
    assert used[0] is used[1]
    await shared.renew()
