"""A connection is to the server that was named, in each way that there is to it, or there is none."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import HttpClient, HttpServer, Limits, Request
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.targets import HttpUpstream, Target, Trust, UnixUpstream
from spiffe_mcp.mesh.upstream.connect import client_context, connector
from tests.unit.http.serving import RecordingService, echo, serving
from tests.unit.mesh.upstream.tls_server import LOOPBACK, self_signed, serving_tls


async def asked(target: Target) -> bytes:
    """What an echo at `target` says."""
    client = HttpClient(connector(target))
    try:
        request = Request(b"POST", b"/mcp", ((b"host", target.host),), b"hi")
        async with await client.send(request) as response:
            return await response.body(1000)
    finally:
        client.retire()


async def refusal(target: Target) -> Refused:
    with pytest.raises(Refused) as caught:
        await asked(target)
    return caught.value


async def test_a_server_in_clear_is_reached() -> None:
    async with serving() as running:
        assert await asked(HttpUpstream(Address("127.0.0.1", running.port), "/mcp")) == b"POST /mcp hi"


async def test_a_server_at_a_unix_socket_is_reached(tmp_path: Path) -> None:
    target = UnixUpstream(tmp_path / "s", "/mcp")
    service = RecordingService(echo)
    async with asyncio.TaskGroup() as tasks:
        http = HttpServer(tasks, Limits())
        listener = await asyncio.get_running_loop().create_unix_server(
            lambda: http.connection(service), target.socket
        )
        assert await asked(target) == b"POST /mcp hi"
        listener.close()
        http.close()


async def test_nobody_at_a_unix_socket_is_a_refusal_that_names_it(tmp_path: Path) -> None:
    refused = await refusal(UnixUpstream(tmp_path / "s", "/mcp"))
    assert refused.reason is Reason.UPSTREAM_UNREACHABLE
    assert refused.detail == f"{tmp_path}/s: FileNotFoundError"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_proves_its_name_is_reached(tmp_path: Path, newest: ssl.TLSVersion) -> None:
    pem = self_signed(tmp_path, LOOPBACK)
    async with serving_tls(pem, newest=newest) as address:
        assert await asked(HttpUpstream(address, "/mcp", Trust(pem))) == b"POST /mcp hi"


async def test_a_server_of_another_name_is_refused(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, x509.DNSName("other.test"))
    async with serving_tls(pem) as address:
        refused = await refusal(HttpUpstream(address, "/mcp", Trust(pem)))
    assert refused.reason is Reason.UPSTREAM_UNTRUSTED
    assert "127.0.0.1" in refused.detail


async def test_an_authority_that_is_not_configured_vouches_for_nobody(tmp_path: Path) -> None:
    """The system's authorities do not know it."""
    async with serving_tls(self_signed(tmp_path, LOOPBACK)) as address:
        assert (await refusal(HttpUpstream(address, "/mcp", Trust()))).reason is Reason.UPSTREAM_UNTRUSTED


async def test_a_server_without_tls_is_refused(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, LOOPBACK)
    async with serving() as running:
        target = HttpUpstream(Address("127.0.0.1", running.port), "/mcp", Trust(pem))
        assert (await refusal(target)).reason is Reason.UPSTREAM_UNTRUSTED


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    context = client_context(Trust())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_authorities_that_cannot_be_loaded_are_a_mistake(tmp_path: Path, content: bytes | None) -> None:
    """At the start, and not at the first call."""
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(Refused) as caught:
        connector(HttpUpstream(Address("127.0.0.1", 1), "/", Trust(ca_file)))
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert str(ca_file) in caught.value.detail
