"""What holds of every source of identity, whichever API is behind it: on the fakes, and on a real SPIRE."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Reconnected
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.wanted import ByHint, ById
from tests.fakes import spire, spire_world
from tests.fakes.worlds import FAKES, PARTNER, TRUST_DOMAIN, World, started

needs_spire = pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)
ON_FAKES = [pytest.param(name, id=f"{name}-fake") for name in FAKES]
ON_SPIRE = [pytest.param(f"{name}-spire", marks=needs_spire, id=f"{name}-spire") for name in FAKES]


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The SPIFFE agent runs, and knows the workload and no identity of it."""
    async with AsyncExitStack() as stack:
        if request.param in FAKES:
            yield await stack.enter_async_context(started(request.param, tmp_path_factory.mktemp("w")))
        else:
            running: spire_world.Spire = request.getfixturevalue("spire_for_sources")
            api = request.param.removesuffix("-spire")
            yield await stack.enter_async_context(spire_world.world(running, api))


@pytest.fixture(scope="module")
def spire_for_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spire_world.Spire]:
    with spire_world.running(tmp_path_factory.mktemp("spire")) as running:
        yield running


everywhere = pytest.mark.parametrize("world", [*ON_FAKES, *ON_SPIRE], indirect=True)


def by_id(path: str) -> ById:
    return ById(SpiffeId.parse(f"spiffe://{TRUST_DOMAIN}{path}"))


def authorities(state: IdentityState | None, trust_domain: str) -> tuple[bytes, ...]:
    """Whom it believes in that trust domain."""
    bundle = state and state.bundles.get(TrustDomain(trust_domain))
    return bundle.authorities_der if bundle else ()


@everywhere
async def test_the_first_svid_makes_it_ready(world: World) -> None:
    async with world.watching(by_id("/first")) as watch:
        assert watch.current is None
        await world.register("/first")
        state = await watch.source.wait_ready()
        assert watch.current is state
        assert str(state.svid.spiffe_id) == f"spiffe://{TRUST_DOMAIN}/first"
        assert [str(bundle.trust_domain) for bundle in state.bundles.bundles] == [TRUST_DOMAIN]


@everywhere
async def test_a_rotation_is_seen(world: World) -> None:
    await world.register("/rotated")
    async with world.watching(by_id("/rotated")) as watch:
        before = await watch.path("/rotated")
        await world.rotate("/rotated")
        after = await watch.until(lambda state: state is not None and state != before)
        assert after is not None
        assert after.svid.spiffe_id == before.svid.spiffe_id
        assert after.svid.chain_der != before.svid.chain_der


@everywhere
async def test_one_of_several_is_chosen_by_id(world: World) -> None:
    for path in ("/one", "/two", "/three"):
        await world.register(path)
    async with world.watching(by_id("/two")) as watch:
        assert (await watch.path("/two")).svid.hint == ""


@everywhere
async def test_one_of_several_is_chosen_by_hint(world: World) -> None:
    for path, hint in (("/one", ""), ("/two", "external"), ("/three", "internal")):
        await world.register(path, hint=hint)
    async with world.watching(ByHint("internal")) as watch:
        assert (await watch.path("/three")).svid.hint == "internal"


@everywhere
async def test_a_federated_bundle_is_kept_apart_and_dropped_when_the_federation_ends(world: World) -> None:
    await world.register("/federated", federated=True)
    theirs = tuple(world.partner.bundle_der)
    async with world.watching(by_id("/federated")) as watch:
        state = await watch.until(lambda state: authorities(state, PARTNER) == theirs)
        assert state is not None
        assert {str(bundle.trust_domain) for bundle in state.bundles.bundles} == {TRUST_DOMAIN, PARTNER}
        assert not {*authorities(state, TRUST_DOMAIN)} & {*theirs}
        await world.defederate()
        await watch.until(lambda state: state is not None and authorities(state, PARTNER) == ())
        assert authorities(watch.current, TRUST_DOMAIN) == authorities(state, TRUST_DOMAIN)


@everywhere
async def test_an_identity_that_is_withdrawn_is_gone_until_it_is_given_again(world: World) -> None:
    await world.register("/withdrawn")
    async with world.watching(by_id("/withdrawn")) as watch:
        before = await watch.path("/withdrawn")
        await world.unregister("/withdrawn")
        await watch.withdrawn()
        await watch.first(Denied)
        await world.register("/withdrawn")
        assert (await watch.path("/withdrawn")).svid != before.svid


@everywhere
async def test_an_agent_that_is_killed_is_found_again_and_the_identity_kept_meanwhile(world: World) -> None:
    await world.register("/kept")
    async with world.watching(by_id("/kept")) as watch:
        before = await watch.path("/kept")
        await world.kill()
        await watch.first(Disconnected)
        assert watch.current is before
        async with world.watching(by_id("/kept")) as late:  # the socket file is there, and nobody behind it
            await late.next(Disconnected)
            assert late.current is None
            await world.rotate("/kept")
            await world.revive()
            # A SPIRE agent that has just joined may first say that there is no identity.
            after = await watch.until(lambda state: state not in (before, None))
            await watch.first(Reconnected)
            assert await late.until(lambda state: state == after)
