"""Names, addresses and upstreams are what they say, or are not made."""

from collections.abc import Callable

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.mesh.routes import Address, HttpUpstream, ServerName, unknown_path


def can_be(parse: Callable[[str], object], text: str) -> bool:
    """Whether `text` is one; ValueError says that it is not."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", ["a", "0", "weather", "a-b", "a--b", "x" * 63])
def test_the_name_of_a_server_is_a_dns_label(text: str) -> None:
    assert ServerName(text).path == f"/{text}/mcp".encode()
    assert str(ServerName(text)) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "..", "a b", "a\n", "ä", "a%2fb", "x" * 64]
)
def test_nothing_else_is_a_name(text: str) -> None:
    assert not can_be(ServerName, text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:8443", "::1", 8443),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("weather.tools.svc.cluster.local:65535", "weather.tools.svc.cluster.local", 65535),
        ("my_container:0", "my_container", 0),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":80", "a", "a:", "a:65536", "a:-1", "a:+1", "a: 1", "a:٨", "a:80/", "a:80?x", "a:80#x",
        "u@a:80", "::1:80", "[::1]", "[]:80", "[a]:80", "[v1.x]:80", "a b:80", "ä:80", "a..b:80", "*:80",
        ",:80", "a\\b:80", "a\t:80", "a\n:80", f"{'x' * 64}:80", f"{'x.' * 127}x:80",
    ],
)  # fmt: skip
def test_what_no_resolver_could_be_asked_for_is_no_address(text: str) -> None:
    """It would be found out by the first call, and `Host` could not carry it."""
    assert not can_be(Address.parse, text)


def test_an_address_cannot_be_built_around_its_parser() -> None:
    for host in ("a b", "a:b", ""):
        assert not can_be(lambda text: Address(text, 80), host)


@pytest.mark.parametrize(
    ("text", "address", "path"),
    [
        ("http://127.0.0.1:9000/mcp", "127.0.0.1:9000", "/mcp"),
        ("http://server/", "server:80", "/"),
        ("http://[::1]/a/b%20c", "[::1]:80", "/a/b%20c"),
    ],
)
def test_an_upstream_is_a_plain_http_url(text: str, address: str, path: str) -> None:
    upstream = HttpUpstream.parse(text)
    assert (str(upstream.address), upstream.path) == (address, path)


@pytest.mark.parametrize(
    "text",
    [
        "", "http://", "http:///mcp", "http://a", "https://a/mcp", "ftp://a/mcp", "a:80/mcp", "//a/mcp",
        "http://a/mcp?x=1", "http://a/mcp#x", "http://u:p@a/mcp", "http://a/m cp", "http://a/\u00fc",
        "http://a:0x50/mcp", "http://a:99999/mcp", "http://[::1/mcp", "http://a b/mcp", "http://a/\x7f",
    ],
)  # fmt: skip
def test_nothing_else_is_an_upstream(text: str) -> None:
    assert not can_be(HttpUpstream.parse, text)


def test_an_unknown_path_is_not_written_down() -> None:
    """People put keys into URLs."""
    refused = unknown_path(b"/s3cr3t")
    assert refused.reason is Reason.ROUTE_UNKNOWN
    assert refused.detail == "a path of 7 bytes"
