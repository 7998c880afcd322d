"""No ticket is given, so that nobody comes in by an earlier session past what has been revoked since."""

import asyncio
import ssl
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls import TlsIdentity
from tests.fakes.mcp_client import now
from tests.fakes.mesh import PLANNER, Mesh, running_mesh
from tests.fakes.streaming import until

REQUEST = b"POST /nowhere/mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


class Client:
    """OpenSSL's own client, which would resume if it could."""

    def __init__(self, mesh: Mesh) -> None:
        state = IdentityState(mesh.svid(PLANNER), mesh.provider.issued.bundles)
        self.context = TlsIdentity(state, now).client_context
        self.at = mesh.ingress

    async def ask(self, session: ssl.SSLSession | None) -> tuple[ssl.SSLObject, bytes]:
        """The TLS connection, and what came on it; the session is the one that is offered for resumption."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, session=session)
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        try:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(65536))
            tls.write(REQUEST)
            writer.write(outgoing.read())
            heard = b""
            while not heard and (ciphertext := await reader.read(65536)):
                incoming.write(ciphertext)
                try:
                    heard = tls.read(65536)
                except ssl.SSLWantReadError:
                    continue
            return tls, heard
        finally:
            writer.transport.abort()


async def test_a_session_of_a_removed_authority_opens_nothing(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        client = Client(mesh)
        first, heard = await client.ask(None)
        assert heard.startswith(b"HTTP/1.1 ")
        assert first.session is None or not first.session.has_ticket
        again, heard = await client.ask(first.session)
        assert heard.startswith(b"HTTP/1.1 ")
        assert again.session_reused is False
        before = mesh.svid(PLANNER)
        mesh.provider.rotate_authority()
        mesh.provider.revoke_former_authorities()
        log = mesh.log("ingress")
        await until(lambda: log.last().get("reason") == Reason.CHAIN_UNTRUSTED.code)  # its hop was cut
        assert mesh.svid(PLANNER) != before
        client.context.verify_mode = ssl.CERT_NONE  # it would take any server; the server does not take it
        with pytest.raises(ssl.SSLError, match="ALERT"):
            await client.ask(first.session)
        assert log.last()["reason"] == Reason.CHAIN_UNTRUSTED.code
