"""A peer is tried by a real handshake; what is told is what became of it, on its side as on ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from spiffe_mcp.doctor import peer
from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.peer import tried
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, SpiffeId, TrustDomain
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.tls import TlsIdentity, TlsProtocol
from tests.fakes.mini_ca import HOUR, MiniCa
from tests.fakes.workloads import Greeter, greeting, now

US, THEM = SpiffeId(TrustDomain("a.test"), "/us"), SpiffeId(TrustDomain("a.test"), "/them")


@pytest.fixture
def ca() -> MiniCa:
    return MiniCa("a.test", now=now())


def bundles(*authorities: MiniCa) -> BundleSet:
    return BundleSet.from_der({ca.trust_domain: ca.bundle_der for ca in authorities})


def us(ca: MiniCa, *trusted: MiniCa) -> IdentityState:
    return IdentityState(ca.issue(US.path), bundles(ca, *trusted))


@asynccontextmanager
async def them(
    ca: MiniCa, path: str = THEM.path, admitted: SpiffeId = US, trusted: MiniCa | None = None
) -> AsyncIterator[Greeter]:
    identity = TlsIdentity(IdentityState(ca.issue(path), bundles(trusted or ca)), now)
    async with greeting(identity, AllowedIds.only(admitted)) as server:
        yield server


async def found_at(
    state: IdentityState, address: str, wanted: str = str(THEM), ahead: timedelta = timedelta()
) -> Finding:
    found = await tried(state, Address.parse(address), IdPattern.parse(wanted), lambda: now() + ahead)
    assert found.check is Check.PEER
    assert (found.severity is Severity.OK) == (not found.advice)
    return found


async def test_one_that_is_who_it_should_be_and_lets_us_in(ca: MiniCa) -> None:
    async with them(ca) as server:
        found = await found_at(us(ca), server.address)
    assert found.severity is Severity.OK
    assert found.message == f"{THEM} answers at {server.address}, and lets {US} in."


async def test_one_that_a_pattern_admits(ca: MiniCa) -> None:
    async with them(ca) as server:
        assert (await found_at(us(ca), server.address, "spiffe://a.test/*")).severity is Severity.OK


async def test_another_workload_at_that_address(ca: MiniCa) -> None:
    async with them(ca, "/other") as server:
        found = await found_at(us(ca), server.address)
    assert found.severity is Severity.ERROR
    assert "identity.id_not_authorized: spiffe://a.test/other" in found.message
    assert "Another workload answers" in found.advice


async def test_one_that_does_not_admit_us_learned_on_the_first_read(ca: MiniCa) -> None:
    async with them(ca, admitted=SpiffeId(TrustDomain("a.test"), "/friend")) as server:
        found = await found_at(us(ca), server.address)
    assert found.severity is Severity.ERROR
    assert f"is who it should be, and refused us, {US}" in found.message
    assert "ingress.peers" in found.advice


async def test_one_that_does_not_know_our_authority(ca: MiniCa) -> None:
    stranger = MiniCa("a.test", now=now())
    async with them(ca, trusted=stranger) as server:
        found = await found_at(us(ca), server.address)
    assert "refused us" in found.message
    assert "bundle for a.test" in found.advice


async def test_one_whose_trust_domain_has_no_bundle_here(ca: MiniCa) -> None:
    foreign = MiniCa("b.test", now=now())
    async with them(foreign, trusted=ca) as server:
        found = await found_at(us(ca), server.address, "spiffe://b.test/them")
    assert found.severity is Severity.ERROR
    assert "identity.chain_untrusted" in found.message or "identity.trust_domain_unknown" in found.message
    assert "federate" in found.advice


async def test_one_whose_svid_has_expired_by_our_clock(ca: MiniCa) -> None:
    async with them(ca) as server:
        found = await found_at(us(ca), server.address, ahead=2 * HOUR)
    assert "identity.certificate_expired" in found.message
    assert "clock is ahead" in found.advice


async def test_one_whose_svid_is_not_valid_yet_by_our_clock(ca: MiniCa) -> None:
    async with them(ca) as server:
        found = await found_at(us(ca), server.address, ahead=-HOUR)
    assert "identity.certificate_not_yet_valid" in found.message
    assert "clock is behind" in found.advice


async def test_nobody_at_that_address(ca: MiniCa) -> None:
    async with them(ca) as server:
        pass
    found = await found_at(us(ca), server.address)
    assert "upstream.unreachable" in found.message
    assert "Is the agent running" in found.advice


async def test_a_port_that_speaks_no_tls(ca: MiniCa) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        found = await found_at(us(ca), f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await left.wait()  # the doctor does not leave a connection behind
    finally:
        server.close()
    assert "tls.handshake" in found.message
    assert "Is it the ingress's port" in found.advice


async def test_one_that_completes_the_handshake_and_says_nothing(
    ca: MiniCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "ANSWER_SECONDS", 0.2)
    identity = TlsIdentity(IdentityState(ca.issue(THEM.path), bundles(ca)), now)

    left = asyncio.Event()

    class Silent(asyncio.Protocol):
        def connection_lost(self, _: Exception | None) -> None:
            left.set()

    def protocol() -> TlsProtocol:
        session = identity.accept(AllowedIds.only(US))
        return TlsProtocol(session, on_secured=lambda _: Silent(), on_refused=_nobody)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        found = await found_at(us(ca), f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await left.wait()
    finally:
        server.close()
    assert found.severity is Severity.WARNING
    assert "whether it lets us in is not known" in found.message


def _nobody(_: object, refused: Refused) -> None:
    raise AssertionError(refused)
