"""A real SPIRE server and the embedded provider federate: each reads the other's bundle endpoint."""

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spiffe_mcp.dev.federation import BundleEndpoint, FederatesWith, Federation, HttpsSpiffe, ShowsSvid
from spiffe_mcp.dev.issuance import Entry, Issued
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.identity import SpiffeId, TrustDomain, verify_chain
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.spire_server import SpireServer, running_spire_server
from tests.fakes.workloads import now

pytestmark = pytest.mark.skipif(shutil.which("spire-server") is None, reason="spire-server is not on PATH")

A, B = TrustDomain("a.test"), TrustDomain("b.test")
CALLER = Entry(SpiffeId(A, "/caller"), os.getuid(), federates_with=frozenset({B}))
PATIENCE = 30.0  # seconds; only a failure takes so long


class Pair(NamedTuple):
    """Our provider of a.test, and SPIRE's server of b.test; SPIRE has our bundle to begin with."""

    ours: Provider
    spire: SpireServer
    bootstrap: Path

    @property
    def relationship(self) -> FederatesWith:
        profile = HttpsSpiffe(self.spire.ENDPOINT, self.bootstrap)
        return FederatesWith(B, self.spire.url, profile)


@pytest.fixture
async def pair(folder: Path) -> AsyncIterator[Pair]:
    federation = Federation(endpoint=BundleEndpoint(Address("127.0.0.1", 0), ShowsSvid.of(A)))
    async with Provider(A, folder / "a.sock", [CALLER], clock=now, federation=federation) as ours:
        endpoint_id = str(ShowsSvid.of(A).endpoint_id)
        (folder / "a.json").write_bytes(ours.issued.own.to_json())
        # Its start and its commands take their time: our loop has to serve its endpoint meanwhile.
        running = running_spire_server(folder, f"https://{ours.bundle_endpoint}/", endpoint_id)
        spire = await asyncio.to_thread(running.__enter__)
        try:
            known = (
                "bundle",
                "set",
                "-format",
                "spiffe",
                "-id",
                "spiffe://a.test",
                "-path",
                folder / "a.json",
            )
            await asyncio.to_thread(spire.cli, *known)
            yield Pair(ours, spire, folder / "b.json")
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def spire_knows(pair: Pair) -> Any:
    """SPIRE's bundle of a.test, once it holds exactly our X.509 authorities and JWT keys."""
    own = pair.ours.issued.own
    x509 = {base64.b64encode(der).decode() for der in own.x509.authorities_der}
    jwt = {key.key_id for key in own.jwt}
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.to_thread(pair.spire.cli, "federation", "refresh", "-id", "spiffe://a.test")
            bundle = await asyncio.to_thread(pair.spire.foreign_bundle)
            keys = bundle["keys"]
            if {key["x5c"][0] for key in keys if key["use"] == "x509-svid"} == x509:
                assert {key["kid"] for key in keys if key["use"] == "jwt-svid"} == jwt
                return bundle


async def of_spire(pair: Pair) -> SpiffeBundle:
    """The bundle of b.test as SPIRE's command line shows it."""
    shown = await asyncio.to_thread(pair.spire.cli, "bundle", "show", "-format", "spiffe")
    return SpiffeBundle.from_json(B, shown.encode())


async def test_spire_reads_our_endpoint_and_follows_a_rotation_of_the_authority(pair: Pair) -> None:
    await spire_knows(pair)
    pair.ours.rotate_authority()
    assert len((await spire_knows(pair))["keys"]) == 4
    # From now on the endpoint shows an SVID of the new authority, which SPIRE has heard of.
    pair.ours.revoke_former_authorities()
    assert len((await spire_knows(pair))["keys"]) == 2


async def test_we_read_spires_endpoint_and_follow_a_rotation_of_the_authority(
    pair: Pair, tmp_path: Path
) -> None:
    pair.bootstrap.write_bytes(SpiffeBundle((await of_spire(pair)).x509).to_json())
    pair.ours.federate(pair.relationship)
    async with asyncio.timeout(PATIENCE):
        fetched = await pair.ours.until(has_jwt_keys_of_b)
    first = fetched.foreign[B]
    assert first.x509 == (await of_spire(pair)).x509
    assert first.sequence is not None
    await asyncio.to_thread(pair.spire.cli, "localauthority", "x509", "prepare")
    async with asyncio.timeout(PATIENCE):
        while len(pair.ours.issued.foreign[B].x509.authorities_der) != 2:
            pair.ours.refresh()  # SPIRE's endpoint learns of it in its own time
            await asyncio.sleep(0)
    both = pair.ours.issued.foreign[B]
    assert both.sequence is not None
    assert both.sequence > first.sequence
    await asyncio.to_thread(
        pair.spire.cli, "x509", "mint", "-spiffeID", "spiffe://b.test/w", "-write", tmp_path
    )
    chain = _pem_to_der((tmp_path / "svid.pem").read_text())
    assert str(verify_chain(chain, pair.ours.issued.every_bundle, now())) == "spiffe://b.test/w"


def has_jwt_keys_of_b(issued: Issued) -> bool:
    """Which the bootstrap bundle has not: so it was fetched."""
    return B in issued.foreign and bool(issued.foreign[B].jwt)


def _pem_to_der(text: str) -> list[bytes]:
    blocks = text.split("-----BEGIN CERTIFICATE-----")[1:]
    return [base64.b64decode(block.split("-----END")[0]) for block in blocks]
