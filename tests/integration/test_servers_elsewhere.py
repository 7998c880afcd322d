"""MCP servers over HTTPS, and on a Unix socket, are called through two agents; who proves no name is not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from spiffe_mcp.http import HttpServer, Limits
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mcp_client import Answer, Plain, call
from tests.fakes.mcp_server import RecordingServer
from tests.fakes.mesh import LIVE, Log, Site, provider_at, running_agent
from tests.unit.mesh.upstream.tls_server import LOOPBACK, self_signed


@asynccontextmanager
async def listening(where: Path | None, pem: Path | None) -> AsyncIterator[tuple[RecordingServer, int]]:
    """The server on a Unix socket, or on a port of the kernel's choice with the certificate of `pem`."""
    server, loop = RecordingServer(LIVE), asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        http = HttpServer(tasks, Limits())
        if where is not None:
            listener = await loop.create_unix_server(lambda: http.connection(server), str(where))
        else:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            assert pem is not None
            context.load_cert_chain(pem)
            listener = await loop.create_server(lambda: http.connection(server), "127.0.0.1", 0, ssl=context)
        try:
            port = 0 if where is not None else listener.sockets[0].getsockname()[1]
            yield server, port
        finally:
            listener.close()
            http.close()


async def answered(folder: Path, **server: Any) -> Answer:
    """What a caller of the mesh gets from a server that is configured so."""
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with provider_at(folder) as provider:
        config = site.ingress_config(provider.address, "http://127.0.0.1:9/mcp")
        document = yaml.safe_load(config.read_text())
        document["ingress"]["servers"][0].update(server)
        config.write_text(yaml.safe_dump(document))
        async with running_agent(config) as ingress:
            config = site.egress_config(provider.address, str(ingress.ingress))
            async with running_agent(config) as egress:
                assert isinstance(egress.egress, Address)
                client = Plain(egress.egress)
                try:
                    return await client.ask(call("echo", text="hi"))
                finally:
                    client.close()


def host_of(server: RecordingServer) -> bytes:
    return dict(server.requests[-1].headers)[b"host"]


async def test_a_server_on_a_unix_socket(folder: Path) -> None:
    async with listening(folder / "mcp.sock", None) as (server, _):
        assert (await answered(folder, upstream=f"unix:{folder}/mcp.sock:/mcp")).text == "hi"
        assert host_of(server) == b"localhost:80"


async def test_a_server_over_https_that_proves_its_name(folder: Path) -> None:
    pem = self_signed(folder, LOOPBACK)
    async with listening(None, pem) as (server, port):
        url = f"https://127.0.0.1:{port}/mcp"
        assert (await answered(folder, upstream=url, upstream_ca=str(pem))).text == "hi"
        assert host_of(server) == b"127.0.0.1:%d" % port


async def test_a_server_over_https_that_nobody_vouches_for_hears_nothing(folder: Path) -> None:
    pem = self_signed(folder, LOOPBACK)
    async with listening(None, pem) as (server, port):
        refused = await answered(folder, upstream=f"https://127.0.0.1:{port}/mcp")
        assert refused.status == 503
        assert server.requests == []
    assert Log(folder / "ingress.jsonl").last()["reason"].startswith("upstream.")


async def test_a_server_over_https_of_another_name_hears_nothing(folder: Path) -> None:
    pem = self_signed(folder, x509.DNSName("another.test"))
    async with listening(None, pem) as (server, port):
        url = f"https://127.0.0.1:{port}/mcp"
        assert (await answered(folder, upstream=url, upstream_ca=str(pem))).status == 503
        assert server.requests == []
