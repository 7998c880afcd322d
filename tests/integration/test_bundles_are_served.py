"""Our bundle endpoint as anybody sees it: what it shows, what it answers, and to what it says no."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.dev import bundle_endpoint
from spiffe_mcp.dev.bundle_client import fetch
from spiffe_mcp.dev.federation import (
    BundleEndpoint,
    EndpointUrl,
    FederatesWith,
    Federation,
    HttpsWeb,
    ShowsCertificate,
    ShowsSvid,
)
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, SpiffeId, TrustDomain, verify_chain
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.bundle_endpoints import LOOPBACK, write_web_files
from tests.fakes.mcp_client import now
from tests.fakes.mini_ca import MiniCa

A = TrustDomain("a.test")
ENDPOINT = SpiffeId(A, "/spiffe/bundle-endpoint")
WORKLOAD = Entry(SpiffeId(A, "/workload"), os.getuid())
HERE = Address("127.0.0.1", 0)


def provider_with(folder: Path, shows: ShowsSvid | ShowsCertificate, *entries: Entry) -> Provider:
    federation = Federation(endpoint=BundleEndpoint(HERE, shows))
    return Provider(A, folder / "a.sock", entries or (WORKLOAD,), clock=now, federation=federation)


@pytest.fixture
async def provider(folder: Path) -> AsyncIterator[Provider]:
    async with provider_with(folder, ShowsSvid.of(A)) as running:
        yield running


@asynccontextmanager
async def connected(provider: Provider) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client without a certificate, that believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = provider.bundle_endpoint
    assert address is not None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answered(provider: Provider, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to `request`, after which the connection closes."""
    async with connected(provider) as (reader, writer):
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return head, body


def asking(method: str = "GET", path: str = "/", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def shown_leaf(provider: Provider) -> bytes:
    async with connected(provider) as (_, writer):
        tls: Any = writer.get_extra_info("ssl_object")
        leaf: bytes = tls.getpeercert(binary_form=True)
        return leaf


# -- what it answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/?a=b"])
async def test_whoever_asks_gets_the_bundle(provider: Provider, path: str) -> None:
    head, body = await answered(provider, asking(path=path))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: application/json" in head
    assert body == provider.issued.own.to_json()
    document = json.loads(body)
    assert [key["use"] for key in document["keys"]] == ["x509-svid", "jwt-svid"]
    assert document["spiffe_sequence"] == provider.issued.authorities.sequence
    assert document["spiffe_refresh_hint"] == 30


async def test_nothing_private_is_served(provider: Provider) -> None:
    _, body = await answered(provider, asking())
    public = {"use", "kty", "crv", "x", "y", "x5c", "kid"}
    assert all(public.issuperset(key) for key in json.loads(body)["keys"])


async def test_the_newest_bundle_is_served_at_once(provider: Provider) -> None:
    before = json.loads((await answered(provider, asking()))[1])
    provider.rotate_authority()
    after = json.loads((await answered(provider, asking()))[1])
    assert len(after["keys"]) == len(before["keys"]) + 2
    assert after["spiffe_sequence"] > before["spiffe_sequence"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_only_get_is_answered(provider: Provider, method: str) -> None:
    head, body = await answered(provider, asking(method))
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET" in head
    assert b"keys" not in body


@pytest.mark.parametrize("path", ["/bundle", "//", "/..", "/%2e"])
async def test_there_is_nothing_at_another_path(provider: Provider, path: str) -> None:
    head, body = await answered(provider, asking(path=path))
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"keys" not in body


async def test_a_body_is_not_read(provider: Provider) -> None:
    head, _ = await answered(provider, asking("GET", "/", "content-length: 1") + b"x")
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_a_head_without_end_is_cut(provider: Provider) -> None:
    head, _ = await answered(provider, asking("GET", "/", f"x: {'x' * 9000}"))
    assert head.startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_does_not_finish_its_handshake_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_endpoint, "HANDSHAKE_TIMEOUT", 0.2)
    async with provider_with(folder, ShowsSvid.of(A)) as provider:
        address = provider.bundle_endpoint
        assert address is not None
        reader, writer = await asyncio.open_connection(address.host, address.port)
        assert await reader.read() == b""
        writer.close()
        assert (await answered(provider, asking()))[0].startswith(b"HTTP/1.1 200 ")


# -- what it shows ------------------------------------------------------------------------------------------


async def test_it_shows_an_svid_of_its_own_that_the_bundle_verifies(provider: Provider) -> None:
    assert verify_chain([await shown_leaf(provider)], provider.issued.bundles, now()) == ENDPOINT


async def test_a_new_handshake_sees_the_svid_of_the_newest_rotation(provider: Provider) -> None:
    first = await shown_leaf(provider)
    assert await shown_leaf(provider) == first
    provider.rotate()
    second = await shown_leaf(provider)
    assert second != first
    provider.rotate_authority()
    provider.revoke_former_authorities()
    third = await shown_leaf(provider)
    assert verify_chain([third], provider.issued.bundles, now()) == ENDPOINT
    for former in (first, second):
        with pytest.raises(Refused) as refused:
            verify_chain([former], provider.issued.bundles, now())
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED


async def test_its_name_can_be_chosen(folder: Path) -> None:
    chosen = SpiffeId(A, "/spire/server")
    async with provider_with(folder, ShowsSvid(chosen)) as provider:
        assert verify_chain([await shown_leaf(provider)], provider.issued.bundles, now()) == chosen


async def test_it_can_show_a_certificate_from_files(folder: Path) -> None:
    certificate, key, authority = write_web_files(MiniCa("web", now=now()), folder, LOOPBACK)
    async with provider_with(folder, ShowsCertificate(certificate, key)) as provider:
        url = EndpointUrl.parse(f"https://{provider.bundle_endpoint}/")
        # Under whatever name it is fetched: a bundle does not say whose it is.
        relationship = FederatesWith(TrustDomain("told.test"), url, HttpsWeb(authority))
        bundle = await fetch(relationship, BundleSet(), now)
        assert bundle.x509.authorities_der == provider.issued.own.x509.authorities_der
        assert bundle.jwt == provider.issued.own.jwt


# -- what cannot be served ----------------------------------------------------------------------------------


async def refusal_of(provider: Provider) -> Refused:
    with pytest.raises(BaseException) as raised:  # noqa: PT011  the provider's task group wraps what ended it
        async with provider:
            pass
    error = raised.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, Refused)
    return error


async def test_files_that_are_no_certificate_and_key_are_refused(folder: Path) -> None:
    certificate, key, _ = write_web_files(MiniCa("web", now=now()), folder, LOOPBACK)
    for shows in (ShowsCertificate(certificate, certificate), ShowsCertificate(folder / "none", key)):
        refused = await refusal_of(provider_with(folder, shows))
        assert refused.reason is Reason.FEDERATION_CERTIFICATE
    assert not (folder / "a.sock").exists()


async def test_a_taken_port_is_refused(folder: Path, provider: Provider) -> None:
    taken = provider.bundle_endpoint
    assert taken is not None
    federation = Federation(endpoint=BundleEndpoint(taken, ShowsSvid.of(A)))
    second = Provider(A, folder / "second.sock", (WORKLOAD,), clock=now, federation=federation)
    assert (await refusal_of(second)).reason is Reason.LISTEN_FAILED


async def test_no_workload_may_have_the_name_of_the_endpoint(folder: Path) -> None:
    with pytest.raises(Refused) as refused:
        provider_with(folder, ShowsSvid.of(A), Entry(ENDPOINT, os.getuid()))
    assert refused.value.reason is Reason.DEV_REGISTRATION
    with pytest.raises(Refused) as refused:
        provider_with(folder, ShowsSvid(SpiffeId(TrustDomain("b.test"), "/endpoint")))
    assert refused.value.reason is Reason.DEV_FOREIGN_TRUST_DOMAIN
