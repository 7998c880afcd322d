"""Bundle endpoints: ours read by go-spiffe's `federation` package, and its own by us, in both profiles."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.dev.federation import (
    BundleEndpoint,
    EndpointUrl,
    FederatesWith,
    Federation,
    HttpsSpiffe,
    HttpsWeb,
    Profile,
    ShowsCertificate,
    ShowsSvid,
)
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.bundle_endpoints import LOOPBACK, write_web_files
from tests.fakes.go_spiffe import GoSpiffe, Program
from tests.fakes.mini_ca import MiniCa
from tests.fakes.workloads import now

A, B = TrustDomain("a.test"), TrustDomain("b.test")
PUBLISHER = SpiffeId(B, "/publisher")
CALLER = Entry(SpiffeId(A, "/caller"), os.getuid(), federates_with=frozenset({B}))

PATIENCE = 30.0  # seconds; only a failure takes so long
PROFILES = ("https_spiffe", "https_web")


def described(bundle: SpiffeBundle) -> dict[str, Any]:
    """A bundle as go-spiffe has to see it."""
    hint = bundle.refresh_hint
    return {
        "event": "bundle",
        "trust_domain": str(bundle.trust_domain),
        "x509": [sha256(der).hexdigest() for der in bundle.x509.authorities_der],
        "jwt": sorted(key.key_id for key in bundle.jwt),
        "sequence": bundle.sequence or 0,
        "hint": hint.total_seconds() if hint else 0,
    }


def of_b(folder: Path, shows: ShowsSvid | ShowsCertificate | None = None) -> Provider:
    """A provider of b.test, with a bundle endpoint if it shows something."""
    endpoint = None if shows is None else BundleEndpoint(Address("127.0.0.1", 0), shows)
    entries = [Entry(PUBLISHER, os.getuid())]
    return Provider(B, folder / "b.sock", entries, clock=now, federation=Federation(endpoint=endpoint))


def web_files(folder: Path) -> tuple[Path, Path, Path]:
    return write_web_files(MiniCa("web", now=now()), folder, LOOPBACK)


# -- ours, read by go-spiffe --------------------------------------------------------------------------------


@asynccontextmanager
async def followed(
    go_spiffe: GoSpiffe, folder: Path, profile: str, **other: str
) -> AsyncIterator[tuple[Provider, Program]]:
    """Our endpoint of b.test, and go-spiffe that follows it."""
    certificate, key, authority = web_files(folder)
    shows = ShowsSvid.of(B) if profile == "https_spiffe" else ShowsCertificate(certificate, key)
    bundle = folder / "b.json"
    async with of_b(folder, shows) as provider:
        bundle.write_bytes(provider.issued.own.to_json())
        ways = {
            "https_spiffe": {"bundle": str(bundle), "endpoint": str(ShowsSvid.of(B).endpoint_id)},
            "https_web": {"roots": str(authority)},
        }
        flags = {"url": f"https://{provider.bundle_endpoint}/", "trust-domain": "b.test"}
        async with go_spiffe.role("follow", **{**flags, **ways[profile], **other}) as program:
            yield provider, program


@pytest.mark.parametrize("profile", PROFILES)
async def test_go_spiffe_reads_our_endpoint_and_follows_a_rotation_of_the_authority(
    go_spiffe: GoSpiffe, folder: Path, profile: str
) -> None:
    async with followed(go_spiffe, folder, profile) as (provider, program):
        assert await program.event("bundle") == described(provider.issued.own)
        provider.rotate_authority()
        assert await program.event("bundle") == described(provider.issued.own)
        # The endpoint shows an SVID of the new authority from now on; go-spiffe has it in its bundle.
        provider.revoke_former_authorities()
        last = await program.event("bundle")
        assert last == described(provider.issued.own)
        assert len(last["x509"]) == 1
        assert all(event["event"] != "refused" for event in await program.rest())


async def test_go_spiffe_does_not_believe_our_endpoint_under_another_name(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with followed(go_spiffe, folder, "https_spiffe", endpoint=str(PUBLISHER)) as (_, program):
        assert "unexpected ID" in (await program.event("refused"))["error"]


async def test_go_spiffe_does_not_believe_an_endpoint_of_a_stranger(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    stranger = folder / "stranger.json"
    async with of_b(folder) as other:
        stranger.write_bytes(other.issued.own.to_json())
    async with followed(go_spiffe, folder, "https_spiffe", bundle=str(stranger)) as (_, program):
        assert "could not verify" in (await program.event("refused"))["error"]


# -- go-spiffe's, read by us --------------------------------------------------------------------------------


@asynccontextmanager
async def following(
    go_spiffe: GoSpiffe, folder: Path, profile: str, endpoint_id: SpiffeId = PUBLISHER
) -> AsyncIterator[tuple[Provider, Provider]]:
    """A provider of b.test whose bundle go-spiffe serves, and one of a.test that follows it there."""
    certificate, key, authority = web_files(folder)
    bootstrap = folder / "b.json"
    flags = {"certificate": str(certificate), "key": str(key)}
    follows: Profile = HttpsWeb(authority)
    if profile == "https_spiffe":
        flags, follows = {"id": str(PUBLISHER)}, HttpsSpiffe(endpoint_id, bootstrap)
    async with of_b(folder) as there:
        # Without its JWT keys: that they are there in the end shows that it was fetched.
        bootstrap.write_bytes(SpiffeBundle(there.issued.own.x509).to_json())
        both = {"socket": there.address, "trust-domain": "b.test"}
        async with go_spiffe.role("publish", **both, **flags) as program:
            address = (await program.event("listening"))["address"]
            relationship = FederatesWith(B, EndpointUrl.parse(f"https://{address}/"), follows)
            federation = Federation((relationship,))
            async with Provider(A, folder / "a.sock", [CALLER], clock=now, federation=federation) as here:
                yield there, here


async def learned(here: Provider, there: Provider) -> None:
    """Until the one has all keys of the other, and no more."""
    own = there.issued.own
    async with asyncio.timeout(PATIENCE):
        while keys(here.issued.foreign.get(B)) != keys(own):
            here.refresh()  # go-spiffe learns of a change in its own time
            await asyncio.sleep(0)


def keys(bundle: SpiffeBundle | None) -> tuple[set[bytes], set[str]]:
    if bundle is None:
        return set(), set()
    return set(bundle.x509.authorities_der), {key.key_id for key in bundle.jwt}


@pytest.mark.parametrize("profile", PROFILES)
async def test_we_read_go_spiffes_endpoint_and_follow_a_rotation_of_the_authority(
    go_spiffe: GoSpiffe, folder: Path, profile: str
) -> None:
    async with following(go_spiffe, folder, profile) as (there, here):
        await learned(here, there)
        there.rotate_authority()
        await learned(here, there)
        there.revoke_former_authorities()
        await learned(here, there)
        assert len(here.issued.foreign[B].x509.authorities_der) == 1


async def test_we_do_not_believe_go_spiffes_endpoint_under_another_name(
    go_spiffe: GoSpiffe, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(go_spiffe, folder, "https_spiffe", SpiffeId(B, "/another")) as (there, here):
        async with asyncio.timeout(PATIENCE):
            while Reason.ID_NOT_AUTHORIZED.code not in caplog.text:  # noqa: ASYNC110  a log has no event
                await asyncio.sleep(0)
        assert here.issued.foreign[B] == SpiffeBundle(there.issued.own.x509)
