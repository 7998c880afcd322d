"""Targets are what they say, or are not made."""

from pathlib import Path

import pytest

from spiffe_mcp.mesh.targets import HttpUpstream, Trust, UnixUpstream, parse_target
from tests.unit.mesh.parsing import can_be


@pytest.mark.parametrize(
    ("text", "address", "path"),
    [
        ("http://127.0.0.1:9000/mcp", "127.0.0.1:9000", "/mcp"),
        ("http://server/", "server:80", "/"),
        ("http://server:8000", "server:8000", "/"),
        ("http://[::1]/a/b%20c", "[::1]:80", "/a/b%20c"),
    ],
)
def test_an_upstream_in_clear_is_a_plain_http_url(text: str, address: str, path: str) -> None:
    upstream = HttpUpstream.parse(text)
    assert (str(upstream.address), upstream.path, upstream.trust) == (address, path, None)
    assert upstream.host == address.encode()
    assert parse_target(str(upstream)) == upstream


@pytest.mark.parametrize(
    "text",
    [
        "", "http://", "http:///mcp", "http://a/mcp?", "http://a/mcp#", "HTTPS:///",
        "ftp://a/mcp", "a:80/mcp", "//a/mcp",
        "http://a/mcp?x=1", "http://a/mcp#x", "http://u:p@a/mcp", "http://a/m cp", "http://a/\u00fc",
        "http://a:0x50/mcp", "http://a:99999/mcp", "http://[::1/mcp", "http://a b/mcp", "http://a/\x7f",
    ],
)  # fmt: skip
def test_nothing_else_is_an_upstream(text: str) -> None:
    assert not can_be(HttpUpstream.parse, text)


@pytest.mark.parametrize(
    ("text", "address", "host"),
    [
        ("https://tools.example/mcp", "tools.example:443", b"tools.example"),
        ("https://tools.example:8443/mcp", "tools.example:8443", b"tools.example:8443"),
        ("https://[::1]/mcp", "[::1]:443", b"[::1]"),
    ],
)
def test_an_upstream_elsewhere_has_a_trust(text: str, address: str, host: bytes) -> None:
    """The usual port is left out of `Host`: servers behind TLS are told apart by that name."""
    upstream = HttpUpstream.parse(text)
    assert (str(upstream.address), upstream.path, upstream.trust) == (address, "/mcp", Trust())
    assert upstream.host == host


def test_a_unix_socket_is_named_with_the_path_behind_it() -> None:
    upstream = parse_target("unix:/run/mcp/a.sock:/api/mcp")
    assert upstream == UnixUpstream(Path("/run/mcp/a.sock"), "/api/mcp")
    assert upstream.host == b"localhost:80"
    assert parse_target(str(upstream)) == upstream


@pytest.mark.parametrize(
    "text",
    [
        "unix:", "unix:/a", "unix:/a:", "unix:/a:mcp", "unix:a:/mcp", "unix::/mcp", "unix:/a:/m cp",
        "unix:/a:/mcp?x", f"unix:/{'a' * 107}:/mcp", "UNIX:/a:/mcp",
    ],
)  # fmt: skip
def test_nothing_else_is_a_unix_socket(text: str) -> None:
    assert not can_be(parse_target, text)
