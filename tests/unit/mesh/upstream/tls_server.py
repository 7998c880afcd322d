"""MCP servers behind ordinary TLS, that prove a name by a certificate of their own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.mesh.addresses import Address
from tests.unit.http.serving import RecordingService, echo


def self_signed(folder: Path, name: x509.GeneralName) -> Path:
    """A PEM file with the key and the certificate of a server that is called so."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)  # noqa: TID251  TLS asks the clock
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    certificate = (
        x509.CertificateBuilder(issuer, issuer, key.public_key(), 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return pem


LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


@asynccontextmanager
async def serving_tls(
    pem: Path, alpn: str = "http/1.1", newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[Address]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    context.set_alpn_protocols([alpn])
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, newest
    service = RecordingService(echo)
    async with asyncio.TaskGroup() as tasks:
        http = HttpServer(tasks, Limits())
        listener = await asyncio.get_running_loop().create_server(
            lambda: http.connection(service), "127.0.0.1", 0, ssl=context
        )
        try:
            yield Address("127.0.0.1", listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
            http.close()
