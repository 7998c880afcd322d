"""Names are what they say, or are not made."""

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.mesh.routes import ServerName, unknown_path
from tests.unit.mesh.parsing import can_be


@pytest.mark.parametrize("text", ["a", "0", "weather", "a-b", "a--b", "x" * 63])
def test_the_name_of_a_server_is_a_dns_label(text: str) -> None:
    assert ServerName(text).path == f"/{text}/mcp".encode()
    assert str(ServerName(text)) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "..", "a b", "a\n", "ä", "a%2fb", "x" * 64]
)
def test_nothing_else_is_a_name(text: str) -> None:
    assert not can_be(ServerName, text)


def test_an_unknown_path_is_not_written_down() -> None:
    """People put keys into URLs."""
    refused = unknown_path(b"/s3cr3t")
    assert refused.reason is Reason.ROUTE_UNKNOWN
    assert refused.detail == "a path of 7 bytes"
