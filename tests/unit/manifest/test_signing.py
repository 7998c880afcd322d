"""A publisher's side: what could not be loaded cannot be signed."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.model import RiskLevel
from spiffe_mcp.manifest.signing import in_order, reviewed, sign
from spiffe_mcp.strict_json import JsonObject
from tests.fakes.publisher import ed25519_pem, manifest, p256_pem, tools

ACME, BETA = FileSigner.from_pem(p256_pem()), FileSigner.from_pem(ed25519_pem())
PAYLOAD = statement.write(manifest())


def test_each_signer_signs_the_payload_and_its_type() -> None:
    envelope = dsse.parse(sign(PAYLOAD, [ACME, BETA]))
    message = dsse.pae("application/vnd.in-toto+json", PAYLOAD)

    assert (envelope.payload, envelope.payload_type) == (PAYLOAD, "application/vnd.in-toto+json")
    assert ACME.public_key.verifies(envelope.signatures[0], message)
    assert BETA.public_key.verifies(envelope.signatures[1], message)


@pytest.mark.parametrize(
    ("payload", "signers", "reason"),
    [
        (b"{}", [ACME], Reason.MANIFEST_FIELD_MISSING),
        (PAYLOAD + b"\n", [ACME], Reason.MANIFEST_NOT_CANONICAL),
        (PAYLOAD, [], Reason.MANIFEST_SIGNATURE_COUNT),
        (PAYLOAD, [ACME, BETA] * 9, Reason.MANIFEST_SIGNATURE_COUNT),
        (PAYLOAD, [ACME, BETA, ACME], Reason.MANIFEST_KEY),
    ],
)
def test_what_would_not_load_is_not_signed(payload: bytes, signers: list[FileSigner], reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        sign(payload, signers)

    assert refusal.value.reason is reason


def test_a_listed_tool_is_brought_into_its_normal_form() -> None:
    """SDKs write null for what is absent."""
    listed: JsonObject = {**tools()[0], "icons": None, "annotations": {"readOnlyHint": True, "title": None}}
    tool = reviewed(listed, RiskLevel.HIGH, requires_approval=True, volatile_meta=["b", "a"])

    assert "icons" not in tool.definition
    assert tool.definition["annotations"] == {"readOnlyHint": True}
    assert (tool.risk_level, tool.requires_approval, tool.volatile_meta) == (
        RiskLevel.HIGH,
        True,
        frozenset({"a", "b"}),
    )


def test_tools_are_put_in_the_order_of_their_names() -> None:
    listed = [reviewed(tool, RiskLevel.LOW) for tool in reversed(tools())]

    assert [*in_order(listed)] == ["get_forecast", "set_alert"]


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(Refused) as refusal:
        in_order(reviewed(tools()[0], risk) for risk in (RiskLevel.LOW, RiskLevel.HIGH))

    assert refusal.value.reason is Reason.MANIFEST_TOOL_ORDER
