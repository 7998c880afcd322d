"""What no sound SPIFFE agent says, and what a source of identity makes of it, whichever API is behind it."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import grpc
import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import TrustDomain
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Updated
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, SvidPart
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes.mini_ca import HOUR, MiniCa
from tests.fakes.watch import Watch
from tests.fakes.worlds import FAKES, TRUST_DOMAIN, FakeWorld, started

RECONNECTS_WITHIN_SECONDS: Final = 3  # a second, and what a busy machine adds
GRPC_DEFAULT_LIMIT: Final = 4 * 1024 * 1024
pytestmark = pytest.mark.parametrize("world", FAKES, indirect=True)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeWorld]:
    async with started(request.param, tmp_path) as world:
        yield world


async def ready(world: FakeWorld, watch: Watch, **federated: bytes) -> IdentityState:
    """The source has an identity, and everything that was said on the way has been heard."""
    world.offer(world.part(), federated={f"{name}.test": der for name, der in federated.items()})
    state = await watch.source.wait_ready()
    await watch.first(Updated)
    return state


def forged(world: FakeWorld) -> SvidPart:
    """An SVID of another authority of the same name, beside the bundle of ours."""
    chain, key = MiniCa(TRUST_DOMAIN, now=world.ca.now).issue_der("/w")
    return replace(world.part(), chain=b"".join(chain), key=key)


def aged(world: FakeWorld, age: timedelta) -> SvidPart:
    chain, key = world.ca.issue_der("/w", not_before=world.ca.now - age)
    return replace(world.part(), chain=b"".join(chain), key=key)


Bad: TypeAlias = Callable[[FakeWorld], SvidPart]
BAD: Final[dict[str, tuple[Bad, Reason]]] = {
    "an SVID that is no certificate": (
        lambda world: replace(world.part(), chain=b"garbage"),
        Reason.CERTIFICATE_MALFORMED,
    ),
    "an SVID without a certificate": (lambda world: replace(world.part(), chain=b""), Reason.CHAIN_EMPTY),
    "a key that is none": (lambda world: replace(world.part(), key=b"garbage"), Reason.SVID_KEY_MALFORMED),
    "the key of another certificate": (
        lambda world: replace(world.part(), key=world.part().key),
        Reason.SVID_KEY_MISMATCH,
    ),
    "an ID that is not the certificate's": (
        lambda world: replace(world.part("/x"), spiffe_id=f"spiffe://{TRUST_DOMAIN}/w"),
        Reason.SVID_ID_MISMATCH,
    ),
    "an SVID that has expired": (lambda world: aged(world, 2 * HOUR), Reason.CERTIFICATE_EXPIRED),
    "an SVID of tomorrow": (lambda world: aged(world, -24 * HOUR), Reason.CERTIFICATE_NOT_YET_VALID),
    "an SVID of an authority that is not in the bundle": (forged, Reason.CHAIN_UNTRUSTED),
    "an own bundle that is none": (
        lambda world: replace(world.part(), bundle=b"garbage"),
        Reason.CERTIFICATE_MALFORMED,
    ),
    "an own bundle that is empty": (lambda world: replace(world.part(), bundle=b""), Reason.BUNDLE_EMPTY),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
async def test_a_bad_part_is_refused_and_the_stream_lives_on(
    world: FakeWorld, bad: Bad, reason: Reason
) -> None:
    theirs = b"".join(world.partner.bundle_der)
    async with world.watching(FirstOffered()) as watch:
        before = await ready(world, watch)
        world.offer(bad(world), federated={"b.test": theirs})
        assert (await watch.first(PartRefused)).reason is reason
        # The good part of the same message is in force, beside what was the last good own part.
        after = await watch.until(lambda state: state is not None and state.bundles.get(B) is not None)
        assert after is not None
        assert after.bundles.get(A) == before.bundles.get(A)
        if not reason.code.endswith(("bundle_empty", "certificate_malformed")):
            assert after.svid == before.svid
        world.offer(world.part("/next"))
        await watch.path("/next")
        assert world.api.script.opened == 1


A, B = TrustDomain(TRUST_DOMAIN), TrustDomain("b.test")


async def test_a_federated_bundle_that_is_none_is_refused_and_the_last_good_one_kept(
    world: FakeWorld,
) -> None:
    async with world.watching(FirstOffered()) as watch:
        before = await ready(world, watch, b=world.partner.bundle_der[0])
        world.offer(world.part("/next"), federated={"b.test": b"garbage"})
        refused = await watch.first(PartRefused)
        assert (refused.part, refused.reason) == ("bundle 'spiffe://b.test'", Reason.CERTIFICATE_MALFORMED)
        assert (await watch.path("/next")).bundles.get(B) == before.bundles.get(B)


async def test_an_empty_federated_bundle_trusts_nobody_and_disturbs_nobody(world: FakeWorld) -> None:
    async with world.watching(FirstOffered()) as watch:
        await ready(world, watch, b=world.partner.bundle_der[0])
        world.offer(world.part("/next"), federated={"b.test": b""})
        bundle = (await watch.path("/next")).bundles.get(B)
        assert bundle is not None
        assert bundle.authorities_der == ()
        assert [event for event in watch.said if isinstance(event, PartRefused)] == []


async def test_bytes_that_are_no_message_are_refused_and_the_stream_lives_on(world: FakeWorld) -> None:
    async with world.watching(FirstOffered()) as watch:
        before = await ready(world, watch)
        world.api.script.say(b"\xff not protobuf")
        assert (await watch.next(PartRefused)).reason is world.api.malformed
        assert watch.current is before
        world.offer(world.part("/next"))
        await watch.path("/next")
        assert world.api.script.opened == 1


async def test_a_message_larger_than_grpc_allows_by_default_is_read(world: FakeWorld) -> None:
    authority = world.partner.bundle_der[0]
    federated = {
        f"b{number}.test": authority + bytes(GRPC_DEFAULT_LIMIT // 16) if number else authority
        for number in range(20)
    }
    async with world.watching(FirstOffered()) as watch:
        world.offer(world.part(), federated=federated)
        state = await watch.path("/w")
        assert state.bundles.get(TrustDomain("b0.test")) is not None
        assert {event.part for event in watch.said if isinstance(event, PartRefused)} == {
            f"bundle 'spiffe://b{number}.test'" for number in range(1, 20)
        }


async def test_a_refusal_withdraws_the_identity_until_it_is_given_again(world: FakeWorld) -> None:
    async with world.watching(FirstOffered()) as watch:
        await ready(world, watch)
        world.api.script.end(grpc.StatusCode.PERMISSION_DENIED)
        assert (await watch.next(Denied)).reason is world.api.denied
        await watch.withdrawn()
        world.offer(world.part("/again"))
        await watch.path("/again")


async def test_an_outage_is_said_once_however_long_it_lasts(world: FakeWorld) -> None:
    async with world.watching(FirstOffered()) as watch:
        before = await ready(world, watch)
        opened = world.api.script.opened
        world.api.script.end(grpc.StatusCode.UNAVAILABLE)
        await world.api.script.until_opened(opened + 3)
        world.offer(world.part("/again"))
        await watch.path("/again")
        outages = [event for event in watch.said if isinstance(event, Disconnected)]
        assert [outage.code for outage in outages] == ["UNAVAILABLE"]
        assert before in [event.state for event in watch.said if isinstance(event, Updated)]


async def test_a_source_may_start_before_its_agent(world: FakeWorld, tmp_path: Path) -> None:
    await world.api.stop()
    async with world.watching(FirstOffered()) as watch:
        assert (await watch.first(Disconnected)).code == "UNAVAILABLE"
        world.offer(world.part())
        await world.api.start()
        async with asyncio.timeout(RECONNECTS_WITHIN_SECONDS):
            await watch.path("/w")


async def test_an_agent_that_takes_its_time_is_waited_for(world: FakeWorld) -> None:
    world.api.script.silence()
    async with world.watching(FirstOffered()) as watch:
        await world.api.script.until_opened(1)
        assert watch.current is None
        world.offer(world.part())
        await watch.path("/w")
        assert world.api.script.opened == 1


async def test_while_the_clock_is_five_minutes_off_what_is_in_force_stays_so(world: FakeWorld) -> None:
    right = world.ca.now
    async with world.watching(FirstOffered()) as watch:
        before = await ready(world, watch)
        for wrong in (right - timedelta(minutes=5), right + 2 * HOUR):
            world.clock.now = wrong
            world.offer(world.part("/next"))
            await watch.first(PartRefused)
            assert watch.current is before
        assert not before.valid_at(world.clock.now)  # whoever uses it asks
        world.clock.now = right  # and nobody sends it again
        await watch.path("/next")


async def test_no_key_is_in_what_a_source_says_of_itself(
    world: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    part = world.part()
    async with world.watching(FirstOffered()) as watch:
        world.offer(part, federated={"b.test": b"garbage"})
        state = await watch.path("/w")
        world.offer(replace(part, bundle=b"garbage"), replace(part, key=part.key[:-1]))
        await watch.first(PartRefused)
        world.api.script.end(grpc.StatusCode.PERMISSION_DENIED, "no")
        await watch.withdrawn()
        said = "\n".join(map(repr, (*watch.said, state, watch.source, part))) + caplog.text
    secret = part.key[36:66]  # of the private number, at a boundary of base64
    assert part.key[33:36] == b"\x01\x04\x20"  # version 1, octet string of 32 bytes (RFC 5915)
    for form in (
        repr(secret)[2:-1],
        secret.hex(),
        base64.b64encode(secret).decode(),
        str(int.from_bytes(part.key[36:68])),
    ):
        assert form not in said
