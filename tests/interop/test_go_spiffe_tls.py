"""Our mutual TLS against go-spiffe's, both ways: who is let in, who is not, and what each end learns."""

import json
from hashlib import sha256

import pytest

from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls import Peer, TlsIdentity
from tests.fakes.go_spiffe import Event, GoSpiffe
from tests.fakes.workloads import AI_AGENT, OTHER, SERVER, WELCOME, asked, greeting, now, workload

TRUST_DOMAIN = "spiffe://mesh.test"
REQUEST = b"POST /tool HTTP/1.1\r\nHost: desk\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"


# -- go-spiffe calls us -------------------------------------------------------------------------------------


async def calling(
    go_spiffe: GoSpiffe, provider: Provider, allowed: AllowedIds, expected: str
) -> tuple[list[Event], Peer | Refused]:
    """A go-spiffe client `AI_AGENT` calls our `SERVER`: what it says, and how it began for us."""
    async with workload(provider, SERVER) as ours, greeting(ours.tls, allowed) as server:
        said = await go_spiffe.said(
            "dial", socket=provider.address, id=str(AI_AGENT), address=server.address, peer=expected
        )
        return said, await server.met()


@pytest.mark.parametrize(
    "allowed", [AllowedIds.only(AI_AGENT), AllowedIds((IdPattern.parse(f"{TRUST_DOMAIN}/ai-agent/*"),))]
)
@pytest.mark.parametrize("expected", [str(SERVER), TRUST_DOMAIN])
async def test_a_go_client_that_we_allow_is_let_in_and_both_ends_know_each_other(
    go_spiffe: GoSpiffe, provider: Provider, allowed: AllowedIds, expected: str
) -> None:
    said, met = await calling(go_spiffe, provider, allowed, expected)
    assert said == [
        {"event": "handshake", "peer": str(SERVER)},
        {"event": "said", "text": WELCOME.decode()},
    ]
    assert isinstance(met, Peer)
    assert met.spiffe_id == AI_AGENT


@pytest.mark.parametrize("allowed", [AllowedIds.only(OTHER), AllowedIds()])
async def test_a_go_client_that_we_do_not_allow_gets_nothing(
    go_spiffe: GoSpiffe, provider: Provider, allowed: AllowedIds
) -> None:
    said, met = await calling(go_spiffe, provider, allowed, str(SERVER))
    assert isinstance(met, Refused)
    assert met.reason is Reason.ID_NOT_AUTHORIZED
    # Its own handshake is complete before we have looked (RFC 8446 section 4.4.2.4); no byte follows.
    assert [event.get("text", "") for event in said[:2]] == ["", ""]
    assert [event["event"] for event in said[:2]] == ["handshake", "said"]


@pytest.mark.parametrize("expected", [str(OTHER), "spiffe://other.test"])
async def test_a_go_client_that_expects_somebody_else_refuses_us(
    go_spiffe: GoSpiffe, provider: Provider, expected: str
) -> None:
    said, met = await calling(go_spiffe, provider, AllowedIds.only(AI_AGENT), expected)
    (failed,) = said
    assert failed["event"] == "failed"
    assert f"unexpected {'ID' if '/ai-agent' in expected else 'trust domain'}" in failed["error"]
    assert isinstance(met, Refused)
    assert met.reason is Reason.TLS_HANDSHAKE


# -- we call go-spiffe --------------------------------------------------------------------------------------


async def test_a_go_server_serves_us_and_knows_who_we_are(go_spiffe: GoSpiffe, provider: Provider) -> None:
    async with (
        workload(provider, AI_AGENT) as ours,
        go_spiffe.role("serve", socket=provider.address, id=str(SERVER), peer=str(AI_AGENT)) as server,
    ):
        address = (await server.event("listening"))["address"]
        answer = await asked(ours.tls, SERVER, address, REQUEST)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        arrived = json.loads(body)
        assert (arrived["peer"], arrived["target"], arrived["body"]) == (str(AI_AGENT), "/tool", "hi")
        events = [event["event"] for event in await server.rest()]
        assert events == ["handshake", "request", "over"]


async def test_we_refuse_a_go_server_of_another_id_before_it_learns_anything(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    async with (
        workload(provider, AI_AGENT) as ours,
        go_spiffe.role("serve", socket=provider.address, id=str(OTHER), peer=TRUST_DOMAIN) as server,
    ):
        address = (await server.event("listening"))["address"]
        with pytest.raises(Refused) as refused:
            await asked(ours.tls, SERVER, address, REQUEST)
        assert refused.value.reason is Reason.ID_NOT_AUTHORIZED
        await server.event("handshake_failed")  # it never completed: our certificate was not even shown
        assert await server.rest() == []


@pytest.mark.parametrize("admitted", [str(OTHER), "spiffe://other.test"])
async def test_a_go_server_that_does_not_admit_us_serves_nothing_and_we_learn_that_we_were_refused(
    go_spiffe: GoSpiffe, provider: Provider, admitted: str
) -> None:
    async with (
        workload(provider, AI_AGENT) as ours,
        go_spiffe.role("serve", socket=provider.address, id=str(SERVER), peer=admitted) as server,
    ):
        address = (await server.event("listening"))["address"]
        with pytest.raises(Refused) as refused:
            await asked(ours.tls, SERVER, address, REQUEST)
        assert refused.value.reason is Reason.TLS_REJECTED
        failed = await server.event("handshake_failed")
        assert "unexpected" in failed["error"]
        assert await server.rest() == []


# -- rotation -----------------------------------------------------------------------------------------------


def newest_leaf(provider: Provider, spiffe_id: SpiffeId) -> str:
    issued = provider.issued.svids
    (svid,) = [svid for entry, svid in issued.items() if entry.spiffe_id == spiffe_id]
    return sha256(svid.chain_der[0]).hexdigest()


async def test_a_hop_to_a_go_server_outlives_its_authority_and_the_former_one_counts_for_nothing(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    async with (
        workload(provider, AI_AGENT) as ours,
        go_spiffe.role("serve", socket=provider.address, id=str(SERVER), peer=str(AI_AGENT)) as server,
    ):
        address = (await server.event("listening"))["address"]
        before = ours.state
        provider.rotate_authority()
        provider.revoke_former_authorities()
        state = await ours.until(lambda state: state.bundles == provider.issued.bundles)
        assert (await server.next_of("svid"))["leaf"] == newest_leaf(provider, SERVER)

        assert b"HTTP/1.1 200 OK" in await asked(ours.tls, SERVER, address, REQUEST)
        with pytest.raises(Refused) as refused:  # the new server, to somebody who trusts the former authority
            await asked(TlsIdentity(before, now), SERVER, address, REQUEST)
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED
        stale = IdentityState(before.svid, state.bundles)
        with pytest.raises(Refused) as refused:  # and the former client, to the new server
            await asked(TlsIdentity(stale, now), SERVER, address, REQUEST)
        assert refused.value.reason is Reason.TLS_REJECTED
        events = [event["event"] for event in await server.rest()]
        assert events == ["handshake", "request", "over", "handshake_failed", "handshake_failed"]
