"""Two federated trust domains, each with a provider and an agent of its own: who reaches whom, and when not.

Reachability is what the bundles say: the calls go through two real agents, and nothing but a bundle changes.
Forgeries are signed by the federated authority itself, which would never sign them, in hostile hands.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply
from spiffe_mcp.identity import AllowedIds, Bundle, BundleSet, SpiffeId, TrustDomain, X509Svid
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.tls import TlsIdentity, TlsSession
from tests.fakes.federated_mesh import (
    DESK,
    LOCAL,
    PLANNER,
    PROBE,
    A,
    B,
    FederatedMesh,
    Relay,
    forged,
    running_federated_mesh,
    svid_of,
)
from tests.fakes.mcp_client import Answer, Hop, Plain, call, now
from tests.fakes.mcp_server import Message, serving_mcp
from tests.fakes.mesh import LIVE, running_agent
from tests.fakes.mini_ca import MiniCa

WORKERS = 4
HOUR = timedelta(hours=1)
# What a caller is told whose trust has ended: on a new connection, or on a live one that was looked at
NOBODY_THERE = {Reason.CHAIN_UNTRUSTED.code, Reason.BUNDLE_UNKNOWN.code}


@pytest.fixture
async def mesh(folder: Path) -> AsyncIterator[FederatedMesh]:
    async with running_federated_mesh(folder) as running:
        yield running


async def asked(mesh: FederatedMesh, text: str = "hi") -> Answer:
    return await mesh.client.ask(call("echo", text=text))


async def until_refused(mesh: FederatedMesh) -> str:
    """The reason that the client is told, once it is refused; until then every call goes through."""
    while (answer := await asked(mesh)).status == 200:
        assert answer.text == "hi"
    return answer.reason


async def until_admitted(mesh: FederatedMesh) -> None:
    """Until a call goes through; from then on each does."""
    while (answer := await asked(mesh)).status != 200:
        assert answer.reason
    for _ in range(5):
        assert (await asked(mesh)).text == "hi"


async def refusal_at_ingress(mesh: FederatedMesh, hop: Hop) -> str:
    """What the ingress notes when `hop` shows its certificate; nothing reaches the server."""
    with mesh.server.untouched(), pytest.raises(Refused):
        await hop.ask(hop.signed(call("echo", text="forged")))
    record = mesh.log("ingress").last()
    assert (record["kind"], record["decision"]) == ("authentication", "refuse")
    return str(record["reason"])


# -- federated ----------------------------------------------------------------------------------------------


async def test_a_workload_calls_a_server_of_another_trust_domain(mesh: FederatedMesh) -> None:
    assert (await asked(mesh, "across")).text == "across"
    record = mesh.log("ingress").last()
    assert record["peer"] == str(PLANNER)
    assert record["decision"] == "allow"


async def test_callers_of_the_servers_own_trust_domain_are_served_as_well(mesh: FederatedMesh) -> None:
    hop = mesh.hop(svid_of(mesh.b, LOCAL))
    assert (await hop.ask(hop.signed(call("echo", text="local")))).text == "local"


# -- a federated authority speaks for its own trust domain and for no other ----------------------------------


async def test_the_server_does_not_believe_a_foreign_authority_that_names_somebody_of_its_own(
    mesh: FederatedMesh,
) -> None:
    assert await refusal_at_ingress(mesh, mesh.hop(forged(mesh.a, LOCAL))) == Reason.CHAIN_UNTRUSTED.code


async def test_the_server_does_not_believe_a_foreign_intermediate_that_bears_its_name(
    mesh: FederatedMesh,
) -> None:
    """Nor one of the foreign trust domain's own name that signs for ours. Its own workload is believed."""
    ca = await known_beside_its_own(mesh.b, mesh.folder, mesh.relays[A], MiniCa("a.test", now=now()))
    honest = ca.subordinate().issue(uris=(str(PLANNER),))
    await until_let_in(mesh.hop(honest))
    bearing_our_name = ca.subordinate(uris=("spiffe://b.test",)).issue(uris=(str(LOCAL),))
    refused = await refusal_at_ingress(mesh, mesh.hop(bearing_our_name))
    assert refused == Reason.CHAIN_UNTRUSTED.code
    bearing_its_own = ca.subordinate().issue(uris=(str(LOCAL),))
    refused = await refusal_at_ingress(mesh, mesh.hop(bearing_its_own))
    assert refused == Reason.ISSUER_TRUST_DOMAIN.code


async def test_a_trust_domain_that_nobody_federated_with_is_nobody(mesh: FederatedMesh) -> None:
    stranger = MiniCa("c.test", now=now()).issue("/ai-agent/planner")
    assert await refusal_at_ingress(mesh, mesh.hop(stranger)) == Reason.CHAIN_UNTRUSTED.code


async def known_beside_its_own(us: Provider, folder: Path, relay: Relay, ca: MiniCa) -> MiniCa:
    """Let `us` believe `ca` as well: an authority of the other trust domain that has intermediates."""
    relay.close()  # what the operator brings stays in force: nothing newer can be fetched
    trust_domain = TrustDomain(ca.trust_domain)
    both = (*us.issued.foreign[trust_domain].x509.authorities_der, *ca.bundle_der)
    brought = SpiffeBundle(Bundle(trust_domain, both))
    (folder / f"{trust_domain}.json").write_bytes(brought.to_json())
    us.refresh()
    await us.until(lambda issued: issued.foreign[trust_domain] == brought)
    return ca


async def until_let_in(hop: Hop) -> None:
    """Until the ingress believes `hop`."""
    while True:
        with suppress(Refused):
            await hop.ask(hop.signed(call("echo", text="me")))
            return


async def until_kept_out(hop: Hop) -> None:
    """Until the ingress does not believe `hop` any more."""
    with suppress(Refused):
        while True:
            await hop.ask(hop.signed(call("echo", text="still me")))


@asynccontextmanager
async def impostor(svid: X509Svid, bundles: BundleSet) -> AsyncIterator[Address]:
    """A server that shows `svid` and would let the planner in."""
    identity = TlsIdentity(IdentityState(svid, bundles), now)
    async with serving_mcp(LIVE, secured=lambda: identity.accept(AllowedIds.only(PLANNER))) as server:
        yield Address("127.0.0.1", server.port)
        assert server.requests == []


HOME = SpiffeId(A, "/mcp/home")  # a server of the caller's own trust domain


async def told_by_an_impostor(mesh: FederatedMesh, svid: X509Svid) -> Answer:
    """What a client of a.test is told that wants `HOME` and meets `svid`."""
    async with impostor(svid, mesh.a.issued.bundles) as address:
        config = mesh.site.egress_config(mesh.a.address, str(address), PLANNER, HOME, log="deceived")
        async with running_agent(config) as egress:
            assert isinstance(egress.egress, Address)
            client = Plain(egress.egress)
            answer = await client.ask(call("echo", text="for home only"))
            client.close()
    return answer


async def test_the_client_does_not_believe_a_foreign_authority_that_names_a_server_of_its_own(
    mesh: FederatedMesh,
) -> None:
    answer = await told_by_an_impostor(mesh, forged(mesh.b, HOME))
    assert (answer.status, answer.reason) == (403, Reason.CHAIN_UNTRUSTED.code)


async def test_the_client_does_not_believe_a_foreign_intermediate_that_bears_its_name(
    mesh: FederatedMesh,
) -> None:
    ca = await known_beside_its_own(mesh.a, mesh.folder, mesh.relays[B], MiniCa("b.test", now=now()))
    for bearing, reason in (
        ("spiffe://a.test", Reason.CHAIN_UNTRUSTED),
        ("spiffe://b.test", Reason.ISSUER_TRUST_DOMAIN),
    ):
        svid = ca.subordinate(uris=(bearing,)).issue(uris=(str(HOME),))
        answer = await told_by_an_impostor(mesh, svid)
        assert (answer.status, answer.reason) == (403, reason.code)


# -- rotation -----------------------------------------------------------------------------------------------


def newest_alone(provider: Provider) -> BundleSet:
    """The bundle in which only the newest authority is left."""
    own = provider.issued.own.x509
    return BundleSet((Bundle(own.trust_domain, own.authorities_der[-1:]),))


def signed_by_the_newest(provider: Provider, identity: SpiffeId) -> X509Svid:
    return provider.issued.authorities.trusted[-1].issue(identity, now=now(), ttl=HOUR)


class Probe:
    """A second server that the planner may call: it shows what it is told to, and counts connections."""

    def __init__(self) -> None:
        self.shown: TlsIdentity

    def accept(self) -> TlsSession:
        return self.shown.accept(AllowedIds.only(PLANNER))

    async def until_answered(self, mesh: FederatedMesh) -> None:
        request = replace(call("echo", text="x"), target=b"/probe/mcp")
        while (answer := await mesh.client.ask(request)).status != 200:
            assert answer.reason


async def test_both_authorities_rotate_under_traffic_and_no_call_fails(folder: Path) -> None:
    """Prepare, let the other side see it, activate; then the former authorities are revoked on both sides."""
    probe, over = Probe(), asyncio.Event()
    async with (
        serving_mcp(LIVE, secured=probe.accept) as server,
        running_federated_mesh(folder, Address("127.0.0.1", server.port)) as mesh,
    ):
        former = svid_of(mesh.a, PLANNER)
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(calls_that_all_pass(mesh, over)) for _ in range(WORKERS)]
            # 1. Each side has one authority more, and the other side's agent believes it already.
            mesh.a.rotate_authority()
            mesh.b.rotate_authority()
            await mesh.know_each_other()
            await until_let_in(mesh.hop(signed_by_the_newest(mesh.a, PLANNER)))
            probe.shown = shown_by(mesh, mesh.a.issued.bundles)
            await probe.until_answered(mesh)
            # 2. It signs. From now on the probe believes nobody who is of the former one.
            probe.shown = shown_by(mesh, newest_alone(mesh.a))
            connections = server.accepted
            mesh.a.rotate()
            mesh.b.rotate()
            await until_let_in(Hop(mesh.ingress, svid_of(mesh.a, PLANNER), newest_alone(mesh.b), DESK))
            while server.accepted == connections:
                await probe.until_answered(mesh)
            await probe.until_answered(mesh)
            over.set()
        assert sum(worker.result() for worker in workers) > 0
        # 3. The former authorities are nobody any more; those who rotated go on.
        mesh.a.revoke_former_authorities()
        mesh.b.revoke_former_authorities()
        await mesh.know_each_other()
        await until_kept_out(mesh.hop(former))
        await until_admitted(mesh)


def shown_by(mesh: FederatedMesh, bundles: BundleSet) -> TlsIdentity:
    """What the probe shows, by the newest authority of b.test, to whom it believes by `bundles`."""
    return TlsIdentity(IdentityState(signed_by_the_newest(mesh.b, PROBE), bundles), now)


async def calls_that_all_pass(mesh: FederatedMesh, over: asyncio.Event) -> int:
    """Call until it is over, at least once; how many calls there were."""
    for number in count(1):
        assert (await asked(mesh, "under way")).text == "under way"
        if over.is_set():
            return number
    raise AssertionError("counting never ends")


# -- outages and ends ---------------------------------------------------------------------------------------


async def test_calls_go_on_while_bundle_endpoints_are_down_and_changes_are_learned_when_they_are_back(
    mesh: FederatedMesh,
) -> None:
    for relay in mesh.relays.values():
        relay.close()
    known = mesh.a.issued.foreign[B]
    for provider in (mesh.a, mesh.b):
        provider.refresh()
        provider.rotate()  # new SVIDs, under the authorities that the other side knows
    mesh.b.rotate_authority()  # which signs nothing before the other side could see it
    for _ in range(20):
        assert (await asked(mesh)).text == "hi"
    assert mesh.a.issued.foreign[B] == known
    for relay in mesh.relays.values():
        await relay.open()
    await mesh.know_each_other()
    assert mesh.a.issued.foreign[B] != known
    await until_admitted(mesh)


async def test_an_empty_bundle_means_nobody(mesh: FederatedMesh) -> None:
    """The operator of a.test has heard that every key of b.test was stolen."""
    assert (await asked(mesh)).status == 200
    (mesh.folder / "b.test.json").write_bytes(b'{"keys":[]}')
    mesh.a.refresh()
    assert await until_refused(mesh) in NOBODY_THERE
    with mesh.server.untouched():
        for _ in range(5):
            assert (await asked(mesh)).status == 403
    hop = mesh.hop(svid_of(mesh.b, LOCAL))
    assert (await hop.ask(hop.signed(call("echo", text="not our affair")))).text == "not our affair"


async def test_reachability_is_what_the_clients_bundles_say(mesh: FederatedMesh) -> None:
    assert (await asked(mesh)).status == 200
    mesh.a.defederate(B)
    assert await until_refused(mesh) in NOBODY_THERE
    with mesh.server.untouched():
        for _ in range(5):
            answer = await asked(mesh)
            assert (answer.status, answer.reason) == (403, Reason.CHAIN_UNTRUSTED.code)
    mesh.a.federate(mesh.with_(B))
    await until_admitted(mesh)


async def test_reachability_is_what_the_servers_bundles_say(mesh: FederatedMesh) -> None:
    """Nobody of the other trust domain is let in, on a new connection or on one that is open."""
    planner = mesh.hop(svid_of(mesh.a, PLANNER))
    await until_let_in(planner)
    mesh.b.defederate(A)
    await until_kept_out(planner)
    assert await refusal_at_ingress(mesh, planner) == Reason.CHAIN_UNTRUSTED.code
    with mesh.server.untouched():
        for _ in range(5):
            assert (await asked(mesh)).status != 200
    local = mesh.hop(svid_of(mesh.b, LOCAL))
    assert (await local.ask(local.signed(call("echo", text="local")))).text == "local"
    mesh.b.federate(mesh.with_(A))
    await until_admitted(mesh)


# -- live connections ---------------------------------------------------------------------------------------


@asynccontextmanager
async def a_call_that_lasts(mesh: FederatedMesh) -> AsyncIterator["asyncio.Task[Answer]"]:
    """A call from a.test that the server in b.test has received and does not answer."""
    received, never = asyncio.Event(), asyncio.Event()

    async def hold(_message: Message, _reply: Reply) -> None:
        received.set()
        await never.wait()

    mesh.server.answer = hold
    async with asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(asked(mesh))
        await received.wait()
        yield calling


async def test_a_call_that_runs_is_cut_when_the_server_defederates(mesh: FederatedMesh) -> None:
    async with a_call_that_lasts(mesh) as calling:
        mesh.b.defederate(A)
        answer = await calling
    assert answer.status != 200
    assert Reason.BUNDLE_UNKNOWN.code in reasons(mesh, "ingress")


async def test_a_call_that_runs_is_cut_when_the_client_defederates(mesh: FederatedMesh) -> None:
    async with a_call_that_lasts(mesh) as calling:
        mesh.a.defederate(B)
        answer = await calling
    assert answer.status != 200
    assert Reason.BUNDLE_UNKNOWN.code in reasons(mesh, "planner")


async def test_an_idle_connection_is_cut_when_the_server_defederates(mesh: FederatedMesh) -> None:
    async with mesh.hop(svid_of(mesh.a, PLANNER)).connected() as connection:
        mesh.b.defederate(A)
        while connection.reusable:  # noqa: ASYNC110  a connection's end has no event for tests
            await asyncio.sleep(0)


async def test_connections_of_the_servers_own_trust_domain_outlive_the_end_of_a_federation(
    mesh: FederatedMesh,
) -> None:
    local = mesh.hop(svid_of(mesh.b, LOCAL))
    async with local.connected() as stays, mesh.hop(svid_of(mesh.a, PLANNER)).connected() as goes:
        mesh.b.defederate(A)
        while goes.reusable:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        head = await stays.exchange(local.signed(call("echo", text="still here")))
        assert head.status == 200


def reasons(mesh: FederatedMesh, side: str) -> set[str]:
    """Every reason in the log of that side."""
    return {str(record.get("reason")) for record in mesh.log(side).records()}
