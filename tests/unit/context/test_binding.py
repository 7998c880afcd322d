"""A link is for one request, and says which."""

from dataclasses import replace
from typing import Any

import pytest

from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.claims import Claims
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.links import BINDING, good_claims


def test_the_claims_are_those_of_dpop_a_digest_and_what_the_server_is_asked() -> None:
    claims = BINDING.to_claims()
    assert claims == {name: good_claims()[name] for name in ("htm", "htu", "bh", "mcp")}
    assert RequestBinding.from_claims(Claims(claims)) == BINDING


def test_a_request_without_method_or_name_says_so() -> None:
    assert replace(BINDING, mcp_name=None).to_claims()["mcp"] == {"method": "tools/call"}
    assert replace(BINDING, mcp_method=None, mcp_name=None).to_claims()["mcp"] == {}


def test_a_binding_admits_its_own_request() -> None:
    BINDING.check(replace(BINDING))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "GET"}, Reason.CONTEXT_BINDING_METHOD),
        ({"uri": "https://weather.a.test/MCP"}, Reason.CONTEXT_BINDING_URI),
        ({"body_sha256": bytes(32)}, Reason.CONTEXT_BINDING_BODY),
        ({"mcp_method": "resources/read"}, Reason.CONTEXT_BINDING_MCP),
        ({"mcp_name": "Forecast"}, Reason.CONTEXT_BINDING_MCP),
        ({"mcp_name": None}, Reason.CONTEXT_BINDING_MCP),
    ],
)
def test_a_binding_refuses_any_other_request(change: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        BINDING.check(replace(BINDING, **change))
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    "change",
    [
        {"method": ""},
        {"method": "POST\n"},
        {"uri": ""},
        {"uri": "https://weather.a.test/mcp?q"},
        {"uri": "https://weather.a.test/mcp#f"},
        {"uri": "https://weather.a.test/a b"},
        {"uri": "https://wetter.a.test/ü"},
        {"uri": "x" * 2049},
        {"body_sha256": b""},
        {"body_sha256": bytes(31)},
        {"mcp_method": ""},
        {"mcp_method": None},
        {"mcp_name": ""},
        {"mcp_name": "a\nb"},
        {"mcp_name": "\ud800"},
        {"mcp_name": "x" * 2049},
    ],
)
def test_a_binding_that_is_none_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        replace(BINDING, **change)
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED
