"""What is peculiar to the Delegated Identity API; the rest is in tests/integration, with the others."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import TrustDomain
from spiffe_mcp.identity.sources.delegated import DelegatedSource
from spiffe_mcp.identity.sources.events import Denied, Disconnected
from spiffe_mcp.identity.sources.proto import delegated_identity_pb2 as pb
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes.delegated import NOT_ATTESTED, FakeDelegated, encoded
from tests.fakes.mini_ca import NOW, MiniCa
from tests.fakes.watch import Clock, Watch

CA, PARTNER, STRANGER = MiniCa("a.test"), MiniCa("b.test"), MiniCa("stranger.test")
PID = 4711
SOON = timedelta(milliseconds=50)
BUNDLES = {"b.test": PARTNER.bundle_der[0], "stranger.test": STRANGER.bundle_der[0]}


def update(*federated: str, path: str = "/w") -> Update:
    chain, key = CA.issue_der(path)
    part = SvidPart(f"spiffe://a.test{path}", b"".join(chain), key, CA.bundle_der[0])
    return Update((part,), {f"spiffe://{name}": BUNDLES[name] for name in federated})


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeDelegated]:
    async with FakeDelegated(tmp_path / "admin.sock", BUNDLES) as api:
        yield api


def watching(api: FakeDelegated, refresh: timedelta = timedelta(1)) -> Watch:
    return Watch(
        lambda hear: DelegatedSource(
            api.address, PID, wanted=FirstOffered(), clock=Clock(NOW), on_event=hear, refresh=refresh
        )
    )


async def test_of_all_bundles_the_agent_has_only_those_of_the_workload_are_believed(
    api: FakeDelegated,
) -> None:
    api.offer(PID, update("b.test"))
    async with watching(api).running() as watch:
        state = await watch.updated()
        assert [str(bundle.trust_domain) for bundle in state.bundles.bundles] == ["a.test", "b.test"]


async def test_an_svid_waits_for_the_bundles(api: FakeDelegated) -> None:
    api.bundles.silence()
    api.of(PID).say(encoded(update()))
    async with watching(api).running() as watch:
        await api.of(PID).until_opened(1)
        await api.bundles.until_opened(1)
        assert watch.current is None
        assert watch.said == []
        api.offer(PID, update(path="/x"))
        await watch.path("/x")


async def test_a_bundle_that_changes_changes_the_state(api: FakeDelegated) -> None:
    rotated = MiniCa("a.test")
    api.offer(PID, update())
    async with watching(api).running() as watch:
        await watch.updated()
        both = CA.bundle_der[0] + rotated.bundle_der[0]
        response = pb.SubscribeToX509BundlesResponse(ca_certificates={"spiffe://a.test": both})
        api.bundles.say(response.SerializeToString())
        state = await watch.updated()
        assert state.bundles.authorities_der == (*CA.bundle_der, *rotated.bundle_der)


async def test_a_trust_domain_that_the_workload_no_longer_federates_with_is_dropped_though_the_agent_has_it(
    api: FakeDelegated,
) -> None:
    api.offer(PID, update("b.test"))
    async with watching(api).running() as watch:
        assert (await watch.updated()).bundles.get(TrustDomain("b.test")) is not None
        api.of(PID).say(encoded(update()))
        assert (await watch.updated()).bundles.get(TrustDomain("b.test")) is None


async def test_a_process_that_cannot_be_attested_is_no_outage(api: FakeDelegated) -> None:
    api.offer(PID, update())
    async with watching(api, SOON).running() as watch:
        await watch.updated()
        api.of(PID).turn_away(*NOT_ATTESTED)
        assert (await watch.next(Denied)).reason is Reason.WORKLOAD_NOT_FOUND
        assert watch.current is None


async def test_the_same_status_with_another_text_is_an_outage(api: FakeDelegated) -> None:
    api.offer(PID, update())
    async with watching(api, SOON).running() as watch:
        state = await watch.updated()
        api.of(PID).turn_away(grpc.StatusCode.UNAVAILABLE, "rate limit")
        assert (await watch.next(Disconnected)).code == "UNAVAILABLE"
        assert watch.current is state


@pytest.mark.parametrize("stream", ["svids", "bundles"])
@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE])
async def test_when_one_stream_ends_both_are_opened_anew(
    api: FakeDelegated, stream: str, code: grpc.StatusCode
) -> None:
    api.offer(PID, update())
    scripts = {"svids": api.of(PID), "bundles": api.bundles}
    async with watching(api).running() as watch:
        state = await watch.updated()
        scripts[stream].end(code)
        assert (await watch.next(Disconnected)).code == code.name
        assert watch.current is state
        api.offer(PID, update(path="/x"))
        await watch.path("/x")
        assert all(script.opened > 1 and script.open == 1 for script in scripts.values())


@pytest.mark.parametrize("stream", ["svids", "bundles"])
async def test_a_message_of_either_stream_that_cannot_be_read_is_refused_and_the_stream_lives_on(
    api: FakeDelegated, stream: str
) -> None:
    api.offer(PID, update())
    scripts = {"svids": api.of(PID), "bundles": api.bundles}
    async with watching(api).running() as watch:
        state = await watch.updated()
        scripts[stream].say(b"\xff not protobuf")
        assert (await watch.next(PartRefused)).reason is Reason.DELEGATED_MALFORMED
        assert watch.current is state
        api.offer(PID, update(path="/x"))
        await watch.path("/x")
        assert [script.opened for script in scripts.values()] == [1, 1]


@pytest.mark.parametrize("path", ["w", "/w"])
async def test_a_path_may_come_without_its_slash(api: FakeDelegated, path: str) -> None:
    message = pb.SubscribeToX509SVIDsResponse.FromString(encoded(update()))
    message.x509_svids[0].x509_svid.id.path = path
    api.offer(PID, update())
    api.of(PID).say(message.SerializeToString())
    async with watching(api).running() as watch:
        assert str((await watch.updated()).svid.spiffe_id) == "spiffe://a.test/w"


def test_what_is_no_process_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(Refused) as refused:
        DelegatedSource("unix:///x", 0, wanted=FirstOffered(), clock=Clock(NOW), on_event=lambda _: None)
    assert refused.value.reason is Reason.WORKLOAD_REFERENCE
