"""A workload's keys are held while it is there and its agent may have them: by broker and by delegation.

What the fakes do here was measured on SPIRE 1.15.3: a stream outlives its workload and the right to it, and
goes on to deliver rotated SVIDs. The second half asks a real SPIRE for two workloads under two users.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import grpc
import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Updated
from spiffe_mcp.identity.sources.watcher import REFRESH
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes import spire, spire_world
from tests.fakes.delegated import NOT_ATTESTED
from tests.fakes.watch import Watch
from tests.fakes.worlds import TRUST_DOMAIN, FakeWorld, started

SOON: Final = timedelta(milliseconds=50)
GONE_WITHIN_SECONDS: Final = 10
PER_WORKLOAD: Final = ("broker", "delegated")
on_fakes = pytest.mark.parametrize("world", PER_WORKLOAD, indirect=True)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeWorld]:
    async with started(request.param, tmp_path) as world:
        world.refresh = SOON
        yield world


@on_fakes
async def test_a_stream_that_outlives_its_workload_does_not_keep_the_keys(world: FakeWorld) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        await watch.path("/w")
        world.api.script.turn_away(grpc.StatusCode.NOT_FOUND)
        await world.rotate("/w")  # the stream goes on, to whoever still listens
        await watch.withdrawn()
        assert (await watch.first(Denied)).reason is Reason.WORKLOAD_NOT_FOUND
        opened = world.api.script.opened
        await world.api.script.until_opened(opened + 2)
        assert watch.current is None


@on_fakes
async def test_a_right_that_is_taken_away_takes_the_keys_though_the_stream_goes_on(world: FakeWorld) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        await watch.path("/w")
        world.api.script.turn_away(grpc.StatusCode.PERMISSION_DENIED)
        await watch.withdrawn()
        assert (await watch.first(Denied)).reason is world.api.denied
        world.api.script.admit()
        await watch.path("/w")


@on_fakes
async def test_an_empty_list_keeps_the_keys_while_whoever_asks_again_is_not_answered(
    world: FakeWorld,
) -> None:
    """As SPIRE does while it replaces what a tainted authority signed."""
    world.refresh = REFRESH
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        before = await watch.path("/w")
        opened = world.api.script.opened
        world.api.nobody()
        assert (await watch.first(Denied)).reason is Reason.SVID_NOT_ISSUED
        world.api.script.silence()
        await world.api.script.until_opened(opened + 1)
        assert watch.current is before
        await world.rotate("/w")
        assert await watch.until(lambda state: state is not before)
        await world.unregister("/w")
        async with asyncio.timeout(GONE_WITHIN_SECONDS):
            await watch.withdrawn()


NOT_THERE: Final = {
    "not found": (grpc.StatusCode.NOT_FOUND, "x"),
    "a process that is gone, of the broker": (grpc.StatusCode.INTERNAL, "workload attestor failed"),
    "no attestor that knows such references": (grpc.StatusCode.UNIMPLEMENTED, "x"),
    "a defect of the agent": (grpc.StatusCode.UNKNOWN, "x"),
}


@on_fakes
@pytest.mark.parametrize(("code", "detail"), NOT_THERE.values(), ids=NOT_THERE.keys())
async def test_what_is_about_this_workload_drops_its_keys_and_is_asked_again(
    world: FakeWorld, code: grpc.StatusCode, detail: str
) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        await watch.path("/w")
        world.api.script.turn_away(code, detail)
        await watch.withdrawn()
        world.api.script.admit()
        await watch.path("/w")


@pytest.mark.parametrize("world", ["delegated"], indirect=True)
async def test_a_process_that_is_gone_of_the_delegated_identity_api_drops_its_keys(world: FakeWorld) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        await watch.path("/w")
        world.api.script.turn_away(*NOT_ATTESTED)
        await watch.withdrawn()


@on_fakes
async def test_an_outage_keeps_the_keys_for_as_long_as_they_are_valid(world: FakeWorld) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        state = await watch.path("/w")
        world.api.script.turn_away(grpc.StatusCode.UNAVAILABLE)
        await watch.first(Disconnected)
        assert watch.current is state
        assert not state.valid_at(state.svid.not_after + timedelta(seconds=1))


@on_fakes
async def test_no_identity_yet_is_a_state_and_not_an_error(world: FakeWorld) -> None:
    async with world.watching(FirstOffered()) as watch:
        assert (await watch.first(Denied)).reason in {Reason.SVID_NOT_ISSUED, Reason.BROKER_NO_IDENTITY}
        await world.api.script.until_opened(3)
        assert [event.reason for event in watch.said if isinstance(event, Denied)][
            -1
        ] is Reason.SVID_NOT_ISSUED
        await world.register("/late")
        await watch.path("/late")
        await world.unregister("/late")
        await watch.withdrawn()


@on_fakes
async def test_asking_afresh_is_not_felt_and_leaves_no_streams_behind(world: FakeWorld) -> None:
    await world.register("/w")
    async with world.watching(FirstOffered()) as watch:
        state = await watch.path("/w")
        await world.api.script.until_opened(world.api.script.opened + 10)
        assert watch.current is state
        assert world.api.script.open <= 2
        assert [event.state for event in watch.said if isinstance(event, Updated)] == [state]


# -- the same on a real SPIRE: two workloads under two users, and one that has no entry ---------------------


@pytest.fixture(scope="module")
def spire_with_two_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spire_world.Spire]:
    with spire_world.running(tmp_path_factory.mktemp("spire")) as running:
        entries = ((1001, "/workload-1001"), (1002, "/workload-1002"), (os.getuid(), "/not-in-the-list"))
        for uid, path in entries:
            running.server(
                "entry", "create", "-parentID", spire_world.NODE, "-selector", f"unix:uid:{uid}",
                "-spiffeID", f"spiffe://{TRUST_DOMAIN}{path}",
            )  # fmt: skip
        yield running


@dataclass
class Local:
    """A process of some user, and what one API says of it."""

    watch: Watch
    process: "subprocess.Popen[bytes]"

    async def is_gone(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    async def seen(self) -> SpiffeId:
        state = await self.watch.until(lambda state: state is not None)
        assert state is not None
        return state.svid.spiffe_id


Start = Callable[[int], Awaitable[Local]]


@pytest.fixture
async def start(
    request: pytest.FixtureRequest, spire_with_two_users: spire_world.Spire
) -> AsyncIterator[Start]:
    """Starts a process of the user with this number, and asks for its identity."""
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(spire_world.mesh_agent(spire_with_two_users))

        async def start(uid: int) -> Local:
            process = stack.enter_context(spire_world.process_of(uid))
            make = spire_world.of_process(spire_with_two_users, link, process.pid)[request.param]
            watch = Watch(lambda hear: make(FirstOffered(), hear))
            await stack.enter_async_context(watch.running())
            return Local(watch, process)

        yield start


needs_spire = pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)
on_spire = [
    pytest.mark.parametrize("start", PER_WORKLOAD, indirect=True),
    needs_spire,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start processes of other users"),
]


def real(test: Callable[[Start], Awaitable[None]]) -> Callable[[Start], Awaitable[None]]:
    for mark in on_spire:
        test = mark(test)
    return test


@real
async def test_two_workloads_of_a_node_have_two_identities_and_two_keys(start: Start) -> None:
    one, two, again = await start(1001), await start(1002), await start(1001)
    paths = [(await local.seen()).path for local in (one, two, again)]
    assert paths == ["/workload-1001", "/workload-1002", "/workload-1001"]
    first, second = one.watch.current, two.watch.current
    assert first is not None
    assert second is not None
    assert first.svid.key.public_key() != second.svid.key.public_key()


@needs_spire
async def test_an_agent_that_is_not_in_the_brokers_list_is_told_why_there_is_an_outage(
    spire_with_two_users: spire_world.Spire,
) -> None:
    stranger = spire_world.mesh_agent(spire_with_two_users, "/not-in-the-list")
    async with stranger as link:
        make = spire_world.of_process(spire_with_two_users, link, os.getpid())["broker"]
        async with Watch(lambda hear: make(FirstOffered(), hear)).running() as watch:
            outage = await watch.first(Disconnected)
            assert outage.code == "UNAVAILABLE"
            # What we still send may meet a closed connection before the alert is read.
            assert re.search(r" \((tls\.rejected: SSLV3_ALERT_BAD_CERTIFICATE|\w+Error)\)$", outage.detail)
            assert watch.current is None


@real
async def test_a_user_without_an_entry_has_no_identity(start: Start) -> None:
    nobody = await start(1003)
    assert (await nobody.watch.first(Denied)).reason is Reason.SVID_NOT_ISSUED
    assert nobody.watch.current is None


@real
async def test_a_process_that_is_gone_loses_its_keys_within_ten_seconds_and_no_other_does(
    start: Start,
) -> None:
    one, two = await start(1001), await start(1002)
    await one.seen()
    await two.seen()
    kept = two.watch.current
    await one.is_gone()
    async with asyncio.timeout(GONE_WITHIN_SECONDS):
        await one.watch.withdrawn()
    assert (await one.watch.first(Denied)).reason is Reason.WORKLOAD_NOT_FOUND
    assert two.watch.current is kept
