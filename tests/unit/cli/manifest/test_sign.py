"""What `manifest sign` signs, prints and refuses."""

import json
from pathlib import Path

import pytest

from spiffe_mcp.cli import clock
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import sha256_hex
from tests.unit.cli.manifest.publishing import run, sign, signed


def test_risk_is_high_unless_its_publisher_says_otherwise(shop: Path) -> None:
    entries = signed(shop, "--risk", "get_forecast=low", "--approve", "set_alert")["predicate"]["tools"]

    assert [(entry["riskLevel"], entry["requiresApproval"]) for entry in entries] == [
        ("low", False),
        ("high", True),
    ]


def test_the_envelope_goes_to_standard_output_and_the_table_beside_it(shop: Path) -> None:
    result = sign(shop, "--default-risk", "critical")

    assert dsse.parse(result.stdout_bytes).payload_type == statement.PAYLOAD_TYPE
    assert "critical" in result.stderr
    assert "set_alert" in result.stderr


def test_it_expires_as_asked(shop: Path) -> None:
    before = clock.now().replace(microsecond=0)
    predicate = signed(shop, "--expires-days", 7)["predicate"]
    issued = statement.parse_time(predicate["issuedAt"], "$")

    assert before <= issued <= clock.now()
    assert (statement.parse_time(predicate["expiresAt"], "$") - issued).days == 7


@pytest.mark.parametrize("form", ["envelope", "statement"])
def test_from_an_earlier_manifest_what_was_said_carries_over(shop: Path, form: str) -> None:
    first = signed(shop, "--risk", "get_forecast=low", "--approve", "set_alert")
    payload = dsse.parse((shop / "m.json").read_bytes()).payload
    (shop / "earlier.json").write_text(
        (shop / "m.json").read_text() if form == "envelope" else json.dumps(first, indent=1)
    )

    result = sign(shop, "--risk", "set_alert=critical", tools_file="earlier.json", serial=2)
    predicate = json.loads(dsse.parse(result.stdout_bytes).payload)["predicate"]

    assert predicate["previous"] == {"serial": 1, "sha256": sha256_hex(payload)}
    assert [(entry["riskLevel"], entry["requiresApproval"]) for entry in predicate["tools"]] == [
        ("low", False),
        ("critical", True),
    ]


def test_several_keys_sign_side_by_side(shop: Path) -> None:
    run("keygen", "--out", shop / "second.pem", "--algorithm", "ed25519")

    assert len(dsse.parse(sign(shop, "--key", shop / "second.pem").stdout_bytes).signatures) == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--risk", "get_forecast=tiny"),
        ("--risk", "get_forecast"),
        ("--risk", "get_forcast=low"),
        ("--approve", "set_alrt"),
        ("--server", "https://mesh.test/x"),
        ("--key", "/nowhere/key.pem"),
        ("--serial", "0"),
        ("--expires-days", "0"),
        ("--out", "/nowhere/m.json"),
        ("--nonsense",),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(shop: Path, options: tuple[str, ...]) -> None:
    assert sign(shop, *options).exit_code == 2


def test_a_key_that_cannot_sign_is_a_usage_error_and_not_quoted(shop: Path) -> None:
    (shop / "key.pem").write_text("-----BEGIN SECRET-----")
    result = sign(shop)

    assert result.exit_code == 2
    assert "SECRET" not in result.output
