"""The Workload API source against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.identity.sources.events import (
    Denied,
    Disconnected,
    Reconnected,
    Rejected,
    SourceEvent,
    Updated,
)
from spiffe_mcp.identity.sources.workload_api import WorkloadApiSource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused
from spiffe_mcp.identity.wanted import ById, FirstOffered, Wanted
from tests.fakes.mini_ca import NOW, MiniCa
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

CA = MiniCa("a.test")
RECONNECTS_WITHIN_SECONDS = 1.5  # a second, and what a busy machine adds


class Watch:
    """A running source and everything it says."""

    def __init__(self, address: str, wanted: Wanted | None = None) -> None:
        self.events: asyncio.Queue[SourceEvent] = asyncio.Queue()
        self.source = WorkloadApiSource(
            address, wanted=wanted or FirstOffered(), clock=self._now, on_event=self.events.put_nowait
        )

    def _now(self) -> datetime:
        return NOW

    async def withdrawn(self) -> list[IdentityState | None]:
        """Wait until the source has no identity; each state from now until then."""
        seen = []
        async with asyncio.timeout(10):
            async for state in self.source.states():
                seen.append(state)
                if state is None:
                    break
        return seen

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(self.source.run())
            yield
            run.cancel()


@pytest.fixture
def api(tmp_path: Path) -> FakeWorkloadApi:
    return FakeWorkloadApi(tmp_path / "api.sock")


async def test_the_first_update_makes_the_source_ready(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    assert watch.source.current is None
    async with api, watch.running():
        api.push(message([svid_part(CA, hint="internal")], {"b.test": MiniCa("b.test").bundle_der}))
        state = await watch.source.wait_ready()
        assert str(state.svid.spiffe_id) == "spiffe://a.test/w"
        assert state.svid.hint == "internal"
        assert [str(bundle.trust_domain) for bundle in state.bundles.bundles] == ["a.test", "b.test"]
        assert state.valid_at(NOW)
        assert watch.source.current is state
        assert await watch.events.get() == Updated(state)


async def test_the_request_carries_the_security_header(api: FakeWorkloadApi) -> None:
    async with api, Watch(api.address).running():
        watch = Watch(api.address)
        api.push(message([svid_part(CA)]))
        async with watch.running():
            await watch.source.wait_ready()
        assert [sent["workload.spiffe.io"] for sent in api.metadata] == ["true"] * len(api.metadata)
        assert api.metadata


async def test_the_source_may_start_before_the_socket_exists(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with watch.running():
        outage = await watch.events.get()
        assert isinstance(outage, Disconnected)
        assert outage.code == "UNAVAILABLE"
        api.push(message([svid_part(CA)]))
        async with api:
            async with asyncio.timeout(RECONNECTS_WITHIN_SECONDS):
                await watch.source.wait_ready()


async def test_an_agent_that_dies_is_found_again_within_a_second_and_the_identity_kept_meanwhile(
    api: FakeWorkloadApi,
) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.push(message([svid_part(CA)]))
        first = await watch.source.wait_ready()
        assert isinstance(await watch.events.get(), Updated)
        await api.stop()
        assert isinstance(await watch.events.get(), Disconnected)
        assert watch.source.current is first
        api.push(message([svid_part(CA, "/w")]))
        await api.start()
        async with asyncio.timeout(RECONNECTS_WITHIN_SECONDS):
            assert await watch.events.get() == Reconnected("UNAVAILABLE")
            event = await watch.events.get()
        assert isinstance(event, Updated)
        assert event.state != first


async def test_an_outage_is_reported_once(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.deny(grpc.StatusCode.UNAVAILABLE)
        assert isinstance(await watch.events.get(), Disconnected)
        while len(api.metadata) < 3:  # two more attempts
            await asyncio.wait_for(api.asked(), 5)
        assert watch.events.empty()


async def test_every_outage_is_reported(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        for kinds in ([Updated, Disconnected], [Reconnected, Updated, Disconnected]):
            api.push(message([svid_part(CA)]))
            for kind in kinds[:-1]:
                assert isinstance(await watch.events.get(), kind)
            api.deny(grpc.StatusCode.UNAVAILABLE)
            assert isinstance(await watch.events.get(), kinds[-1])


async def test_a_stream_that_the_server_ends_is_opened_again(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.push(message([svid_part(CA)]))
        await watch.source.wait_ready()
        await watch.events.get()
        api.deny(grpc.StatusCode.OK)
        event = await watch.events.get()
        assert isinstance(event, Disconnected)
        assert event.code == "OK"
        api.push(message([svid_part(CA)]))
        assert await watch.events.get() == Reconnected("OK")
        assert isinstance(await watch.events.get(), Updated)


async def test_permission_denied_withdraws_the_identity_until_it_is_granted_again(
    api: FakeWorkloadApi,
) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.push(message([svid_part(CA)]))
        await watch.source.wait_ready()
        await watch.events.get()
        api.deny()
        denied = await watch.events.get()
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.WORKLOAD_API_DENIED
        await watch.withdrawn()
        api.push(message([svid_part(CA)]))
        assert isinstance(await watch.events.get(), Updated)
        assert watch.source.current is not None


async def test_a_refusal_that_is_not_said_again_withdraws_nothing(api: FakeWorkloadApi) -> None:
    """SPIRE says it of a workload whose SVID it is replacing, and then says nothing until that is there."""
    watch = Watch(api.address)
    async with api, watch.running():
        api.push(message([svid_part(CA)]))
        await watch.source.wait_ready()
        await watch.events.get()
        api.deny_once()
        assert isinstance(await watch.events.get(), Denied)
        await api.asked()
        assert watch.source.current is not None
        api.push(message([svid_part(CA)]))
        renewed = await watch.events.get()
        assert isinstance(renewed, Updated)
        api.deny()
        assert await watch.withdrawn() == [renewed.state, None]


async def test_what_the_server_says_cannot_break_a_log_line(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.deny()
        denied = await watch.events.get()
        assert isinstance(denied, Denied)
        assert denied.detail.isprintable()


async def test_invalid_argument_ends_the_source_loudly(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    api.deny(grpc.StatusCode.INVALID_ARGUMENT)
    async with api:
        with pytest.raises(Refused) as refused:
            await watch.source.run()
    assert refused.value.reason is Reason.WORKLOAD_API_REJECTED
    assert isinstance(watch.events.get_nowait(), Rejected)


async def test_an_identity_that_is_no_longer_offered_is_withdrawn(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address, ById(SpiffeId.parse("spiffe://a.test/w")))
    async with api, watch.running():
        api.push(message([svid_part(CA, "/other"), svid_part(CA, "/w")]))
        state = await watch.source.wait_ready()
        assert str(state.svid.spiffe_id) == "spiffe://a.test/w"
        await watch.events.get()
        api.push(message([svid_part(CA, "/other")]))
        assert await watch.events.get() == Denied(Reason.SVID_NOT_OFFERED, "spiffe://a.test/w")
        await watch.withdrawn()


async def test_an_identity_that_is_offered_again_at_once_was_never_withdrawn(api: FakeWorkloadApi) -> None:
    """SPIRE, when it replaces what a tainted authority signed, tells of each SVID as it gets it."""
    watch = Watch(api.address, ById(SpiffeId.parse("spiffe://a.test/w")))
    async with api, watch.running():
        api.push(message([svid_part(CA, "/w")]))
        await watch.source.wait_ready()
        await watch.events.get()
        api.push(message([svid_part(CA, "/other")]))
        assert isinstance(await watch.events.get(), Denied)
        api.push(message([svid_part(CA, "/other"), svid_part(CA, "/w")]))
        renewed = await watch.events.get()
        assert isinstance(renewed, Updated)
        api.deny()  # which withdraws it later than the first would have
        seen = await watch.withdrawn()
        assert seen == [renewed.state, None]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\xff\xff not protobuf", Reason.WORKLOAD_API_MALFORMED),
        (b"", Reason.WORKLOAD_API_INCOMPLETE),
        (message([svid_part(CA, x509_svid=b"garbage")]), Reason.CERTIFICATE_MALFORMED),
    ],
)
async def test_a_bad_update_is_refused_and_the_stream_lives_on(
    api: FakeWorkloadApi, bad: bytes, reason: Reason
) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        api.push(message([svid_part(CA)]))
        first = await watch.source.wait_ready()
        await watch.events.get()
        api.push(bad)
        refused = await watch.events.get()
        assert isinstance(refused, PartRefused)
        assert refused.reason is reason
        assert watch.source.current is first
        api.push(message([svid_part(CA)]))
        assert isinstance(await watch.events.get(), Updated)
        assert len(api.metadata) == 1


async def test_an_update_that_changes_nothing_disturbs_nobody(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    same = message([svid_part(CA)])
    async with api, watch.running():
        api.push(same)
        first = await watch.source.wait_ready()
        await watch.events.get()
        api.push(same)
        api.push(message([svid_part(CA)]))
        event = await watch.events.get()
        assert isinstance(event, Updated)
        assert event.state != first


async def test_every_reader_sees_the_newest_state_after_each_change(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    async with api, watch.running():
        states = watch.source.states()
        assert await anext(states) is None
        api.push(message([svid_part(CA)]))
        first = await anext(states)
        assert first is watch.source.current
        api.deny()
        assert await anext(states) is None


async def test_a_message_larger_than_grpc_allows_by_default_is_read(api: FakeWorkloadApi) -> None:
    watch = Watch(api.address)
    padding = {f"b{number}.test": [b"\x30\x82\xff\xff" + bytes(65535)] for number in range(80)}
    async with api, watch.running():
        api.push(message([svid_part(CA)], padding))
        state = await watch.source.wait_ready()
        assert state.bundles.get(TrustDomain("b1.test")) is None
        assert str(state.svid.spiffe_id) == "spiffe://a.test/w"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/run/x.sock",
        "unix:x.sock",
        "unix://host/x.sock",
        "tcp://127.0.0.1:1",
        "unix:///x?y",
        "unix:///x\n",
    ],
)
def test_an_address_that_is_no_absolute_unix_socket_is_refused(address: str) -> None:
    with pytest.raises(Refused) as refused:
        Watch(address)
    assert refused.value.reason is Reason.WORKLOAD_API_ADDRESS
