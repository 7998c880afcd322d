"""Addresses are what they say, or are not made."""

import pytest

from spiffe_mcp.mesh.addresses import Address
from tests.unit.mesh.parsing import can_be


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
