"""The embedded provider as go-spiffe sees it: everything that its Workload API gives, and each update."""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

import pytest

from spiffe_mcp.dev.provider import DEFAULT_JWT_SVID_TTL, Provider
from spiffe_mcp.identity import SpiffeId
from tests.fakes import go_spiffe as go
from tests.fakes.go_spiffe import Event, GoSpiffe, Program
from tests.fakes.workloads import AI_AGENT, ENTRIES, OTHER, SERVER, now

AUDIENCE = "spiffe://mesh.test/mcp/desk"
STREAMS = ("x509_context", "x509_bundles", "jwt_bundles")


def fingerprint(certificate_der: bytes) -> str:
    return sha256(certificate_der).hexdigest()


def roots(provider: Provider) -> dict[str, list[str]]:
    """The X.509 bundles as they have to arrive."""
    return {"mesh.test": [fingerprint(der) for der in provider.issued.bundles.authorities_der]}


def jwt_keys(provider: Provider) -> dict[str, list[str]]:
    """The JWT bundles as they have to arrive: the IDs of their keys."""
    return {"mesh.test": sorted(one.jwt.key_id for one in provider.issued.authorities.trusted)}


def leaves(provider: Provider) -> list[str]:
    return [fingerprint(provider.issued.svids[entry].chain_der[0]) for entry in ENTRIES]


def described(event: Event, member: str) -> list[str]:
    return [svid[member] for svid in event["svids"]]


async def everything(go_spiffe: GoSpiffe, provider: Provider, **flags: str) -> dict[str, Event]:
    """What each way to ask brought, by the name of the event."""
    events = await go_spiffe.said("workload", socket=provider.address, audience=AUDIENCE, **flags)
    return {event["event"]: event for event in events}


def test_the_go_program_is_formatted_and_vetted(go_spiffe: GoSpiffe) -> None:
    assert go.complaints() == ""


# -- one answer ---------------------------------------------------------------------------------------------


async def test_every_x509_svid_arrives_in_order_with_its_hint(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    said = (await everything(go_spiffe, provider))["x509_context"]
    assert described(said, "id") == [str(AI_AGENT), str(OTHER), str(SERVER)]
    assert described(said, "hint") == ["planner", "second", "tool"]
    assert described(said, "leaf") == leaves(provider)


async def test_go_spiffe_verifies_every_svid_against_the_bundle_that_came_with_it(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    said = (await everything(go_spiffe, provider))["x509_context"]
    assert said["bundles"] == roots(provider)
    assert described(said, "verified") == described(said, "id")
    assert described(said, "complaint") == ["", "", ""]


async def test_bundles_arrive_by_themselves_and_joined(go_spiffe: GoSpiffe, provider: Provider) -> None:
    provider.rotate_authority()  # two of each kind
    said = await everything(go_spiffe, provider)
    assert len(roots(provider)["mesh.test"]) == 2
    assert said["x509_bundles"]["bundles"] == roots(provider)
    assert said["jwt_bundles"]["bundles"] == jwt_keys(provider)
    assert said["bundle_source"]["x509"] == roots(provider)["mesh.test"]
    assert said["bundle_source"]["jwt"] == jwt_keys(provider)["mesh.test"]


async def test_without_a_subject_a_jwt_svid_comes_for_every_identity(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    svids = (await everything(go_spiffe, provider))["jwt_svids"]["svids"]
    assert [(svid["id"], svid["hint"]) for svid in svids] == [
        (str(entry.spiffe_id), entry.hint) for entry in ENTRIES
    ]


async def test_a_subject_gets_one_jwt_svid_for_the_audience_and_not_for_long(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    said = await everything(go_spiffe, provider, subject=str(OTHER))
    (svid,) = said["jwt_svids"]["svids"]
    assert (svid["id"], svid["audience"]) == (str(OTHER), [AUDIENCE])
    left = datetime.fromisoformat(svid["expiry"]) - now()
    assert timedelta() < left <= DEFAULT_JWT_SVID_TTL


async def test_a_jwt_svid_of_somebody_else_is_not_to_be_had(go_spiffe: GoSpiffe, provider: Provider) -> None:
    stranger = str(SpiffeId(AI_AGENT.trust_domain, "/stranger"))
    said = await everything(go_spiffe, provider, subject=stranger)
    assert "jwt_svids" not in said
    assert "PermissionDenied" in said["failed"]["error"]


# -- validation ---------------------------------------------------------------------------------------------


async def token_of(go_spiffe: GoSpiffe, provider: Provider) -> str:
    said = await everything(go_spiffe, provider, subject=str(AI_AGENT))
    token: str = said["jwt_svids"]["svids"][0]["token"]
    return token


async def verdicts(go_spiffe: GoSpiffe, provider: Provider, token: str, audience: str) -> list[Event]:
    return await go_spiffe.said("validate", socket=provider.address, audience=audience, token=token)


async def test_a_jwt_svid_is_valid_for_the_workload_api_and_for_whoever_has_its_bundles(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    token = await token_of(go_spiffe, provider)
    assert await verdicts(go_spiffe, provider, token, AUDIENCE) == [
        {"event": "validated", "by": by, "id": str(AI_AGENT)} for by in ("workload_api", "bundles")
    ]


async def test_a_jwt_svid_survives_the_preparation_of_an_authority_but_not_the_revocation_of_its_own(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    token = await token_of(go_spiffe, provider)
    provider.rotate_authority()
    said = await verdicts(go_spiffe, provider, token, AUDIENCE)
    assert [event["event"] for event in said] == ["validated", "validated"]
    provider.revoke_former_authorities()
    said = await verdicts(go_spiffe, provider, token, AUDIENCE)
    assert [event["event"] for event in said] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("audience", "break_signature"), [("https://elsewhere.test", False), (AUDIENCE, True)]
)
async def test_a_jwt_svid_for_another_audience_or_with_a_broken_signature_is_refused_by_both(
    go_spiffe: GoSpiffe, provider: Provider, audience: str, break_signature: bool
) -> None:
    token = await token_of(go_spiffe, provider)
    if break_signature:
        head, _, signature = token.rpartition(".")
        token = f"{head}.{'A' * len(signature)}"
    said = await verdicts(go_spiffe, provider, token, audience)
    assert [(event["event"], event["by"]) for event in said] == [
        ("refused", "workload_api"),
        ("refused", "bundles"),
    ]


# -- updates ------------------------------------------------------------------------------------------------


async def first_of_each(watcher: Program) -> dict[str, Event]:
    """What the three streams bring at once."""
    first = [await watcher.event(*STREAMS) for _ in STREAMS]
    return {event["event"]: event for event in first}


async def test_a_rotation_is_seen_on_the_open_stream(go_spiffe: GoSpiffe, provider: Provider) -> None:
    async with go_spiffe.role("watch", socket=provider.address) as watcher:
        first = await first_of_each(watcher)
        assert sorted(first) == sorted(STREAMS)
        before = leaves(provider)
        assert described(first["x509_context"], "leaf") == before
        provider.rotate()
        second = await watcher.next_of("x509_context")
        assert not set(before) & set(leaves(provider))
        assert described(second, "leaf") == leaves(provider)
        assert described(second, "verified") == described(second, "id")
        assert all(event["event"] != "broken" for event in await watcher.rest())


async def test_a_new_authority_is_trusted_before_it_signs_and_the_former_one_is_gone_in_the_end(
    go_spiffe: GoSpiffe, provider: Provider
) -> None:
    async with go_spiffe.role("watch", socket=provider.address) as watcher:
        first = await watcher.next_of("x509_context")
        provider.rotate_authority()
        prepared = await watcher.next_of("x509_context")
        former, added = roots(provider)["mesh.test"]
        assert prepared["bundles"] == {"mesh.test": [former, added]}
        assert described(prepared, "leaf") == described(first, "leaf")
        provider.revoke_former_authorities()
        final = await watcher.next_of("x509_context")
        assert final["bundles"] == {"mesh.test": [added]}
        assert described(final, "leaf") == leaves(provider)
        assert described(final, "verified") == described(final, "id")


@pytest.mark.parametrize(("stream", "trusted"), [("x509_bundles", roots), ("jwt_bundles", jwt_keys)])
async def test_whoever_follows_only_bundles_learns_of_each_authority(
    go_spiffe: GoSpiffe,
    provider: Provider,
    stream: str,
    trusted: Callable[[Provider], dict[str, list[str]]],
) -> None:
    async with go_spiffe.role("watch", socket=provider.address) as watcher:
        assert (await watcher.next_of(stream))["bundles"] == trusted(provider)
        for change in (provider.rotate_authority, provider.revoke_former_authorities):
            change()
            assert (await watcher.next_of(stream))["bundles"] == trusted(provider)
