"""Who may connect: a refused handshake leaves one record at the ingress, and nothing reaches the server."""

import asyncio
import ssl

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import Bundle, BundleSet, TrustDomain
from tests.fakes.mcp_client import Hop, call, now
from tests.fakes.mesh import PLANNER, REVIEWER, SERVER, STRANGER, Mesh, running_agent
from tests.fakes.mini_ca import MiniCa

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def still_works(mesh: Mesh) -> None:
    assert (await mesh.planner.ask(call("echo", text="on we go"))).text == "on we go"


def reason_of_the_last_handshake(mesh: Mesh) -> str:
    record = mesh.log("ingress").last()
    assert record["kind"] == "authentication"
    assert record["decision"] == "refuse"
    assert record["peer_address"].startswith("127.0.0.1:")
    return str(record["reason"])


async def test_a_client_without_a_certificate_is_told_that_one_is_required(mesh: Mesh) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with mesh.server.untouched():
        reader, writer = await asyncio.open_connection(mesh.ingress.host, mesh.ingress.port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await reader.read()
        writer.transport.abort()
    assert reason_of_the_last_handshake(mesh) == Reason.TLS_NO_CERTIFICATE.code
    await still_works(mesh)


async def refusal_of(hop: Hop) -> Refused:
    with pytest.raises(Refused) as refused:
        await hop.ask(hop.signed(call("echo")))
    return refused.value


async def test_a_certificate_of_another_trust_domain_is_not_believed(mesh: Mesh) -> None:
    foreign = MiniCa("other.test", now=now()).issue("/ai-agent/planner")
    with mesh.server.untouched():
        assert (await refusal_of(mesh.hop(svid=foreign))).reason is Reason.TLS_REJECTED
    assert reason_of_the_last_handshake(mesh) == Reason.CHAIN_UNTRUSTED.code
    await still_works(mesh)


async def test_another_authority_of_the_same_name_signs_nobody(mesh: Mesh) -> None:
    forged = MiniCa("mesh.test", now=now()).issue(PLANNER.path)
    with mesh.server.untouched():
        assert (await refusal_of(mesh.hop(svid=forged))).reason is Reason.TLS_REJECTED
    assert reason_of_the_last_handshake(mesh) == Reason.CHAIN_UNTRUSTED.code
    await still_works(mesh)


async def test_a_workload_that_peers_does_not_name_may_not_connect(mesh: Mesh) -> None:
    with mesh.server.untouched():
        await refusal_of(mesh.hop(STRANGER))
    assert reason_of_the_last_handshake(mesh) == Reason.ID_NOT_AUTHORIZED.code
    await still_works(mesh)


async def test_plain_http_at_the_ingress_is_no_handshake(mesh: Mesh) -> None:
    with mesh.server.untouched():
        reader, writer = await asyncio.open_connection(mesh.ingress.host, mesh.ingress.port)
        writer.write(b"POST /desk/mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.transport.abort()
    assert reason_of_the_last_handshake(mesh) == Reason.TLS_HANDSHAKE.code
    await still_works(mesh)


async def test_an_egress_sends_nothing_to_a_server_with_the_wrong_spiffe_id(mesh: Mesh) -> None:
    """The ingress is `SERVER`; an egress that expects somebody else must not even show who it is."""
    elsewhere = mesh.site.egress_config(mesh.provider.address, str(mesh.ingress), STRANGER, REVIEWER)
    async with running_agent(elsewhere) as egress:
        client = type(mesh.planner)(egress.egress)  # type: ignore[arg-type]  # it listens on TCP
        with mesh.server.untouched():
            answer = await client.ask(call("echo", text="for somebody else"))
        client.close()
    assert (answer.status, answer.reason) == (403, Reason.ID_NOT_AUTHORIZED.code)
    assert mesh.log("stranger").last()["reason"] == Reason.ID_NOT_AUTHORIZED.code
    # The server's side saw a handshake that its client gave up, and no certificate in it.
    assert reason_of_the_last_handshake(mesh) == Reason.TLS_HANDSHAKE.code
    await still_works(mesh)


async def test_a_client_does_not_believe_an_ingress_whose_authority_it_does_not_know(mesh: Mesh) -> None:
    nobody = BundleSet((Bundle(TrustDomain("mesh.test"), tuple(MiniCa("mesh.test", now=now()).bundle_der)),))
    hop = Hop(mesh.ingress, mesh.svid(PLANNER), nobody, SERVER)
    with mesh.server.untouched():
        assert (await refusal_of(hop)).reason is Reason.CHAIN_UNTRUSTED
    await still_works(mesh)
