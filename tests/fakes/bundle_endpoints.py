"""Bundle endpoints that show whatever certificate and answer whatever bytes a test wants.

async with answering(svid_context(svid), ok(bundle.to_json())) as endpoint:
... endpoint.url ...          # https://127.0.0.1:port/
endpoint.requests             # the heads that arrived, once TLS had let them through

async with answering(context, b"", hold=asyncio.Event()) as endpoint:     # says nothing until `hold` is set
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from spiffe_mcp.dev.federation import EndpointUrl
from spiffe_mcp.identity import X509Svid
from spiffe_mcp.tls.context import load_svid
from tests.fakes.mini_ca import MiniCa

LOOPBACK: Final = x509.IPAddress(IPv4Address("127.0.0.1"))


@dataclass
class Endpoint:
    """A server that runs. `answer` may be replaced while it does."""

    port: int
    answer: bytes
    hold: asyncio.Event | None = None
    requests: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> EndpointUrl:
        return EndpointUrl.parse(f"https://127.0.0.1:{self.port}/")


def ok(body: bytes) -> bytes:
    """A 200 with `body`."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def svid_context(svid: X509Svid) -> ssl.SSLContext:
    """A server that shows `svid`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_svid(context, svid)
    return context


def write_web_files(ca: MiniCa, folder: Path, *names: x509.GeneralName) -> tuple[Path, Path, Path]:
    """PEM files of a certificate for `names`, of its key, and of the authority that issued it."""
    (leaf, *_), pkcs8 = ca.issue_der(uris=(), other_names=names)
    key = load_der_private_key(pkcs8, password=None)
    contents = {
        "web.crt": ssl.DER_cert_to_PEM_cert(leaf).encode(),
        "web.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "web-ca.crt": "".join(map(ssl.DER_cert_to_PEM_cert, ca.bundle_der)).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    certificate, key_file, authority = (folder / name for name in contents)
    return certificate, key_file, authority


def web_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server that shows a certificate from files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@asynccontextmanager
async def answering(
    context: ssl.SSLContext, answer: bytes, hold: asyncio.Event | None = None
) -> AsyncIterator[Endpoint]:
    """An endpoint that answers every request with `answer`, on a port of the kernel's choice."""
    endpoint = Endpoint(0, answer, hold)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            endpoint.requests.append(await reader.readuntil(b"\r\n\r\n"))
            endpoint.asked.set()
            if endpoint.hold is not None:
                await endpoint.hold.wait()
            writer.write(endpoint.answer)
            await writer.drain()
        writer.transport.abort() if endpoint.hold else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        server.close()
