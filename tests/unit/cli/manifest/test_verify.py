"""What `manifest verify` prints, and how it exits."""

import json
from pathlib import Path

import pytest

from tests.fakes.publisher import SERVER
from tests.unit.cli.manifest.publishing import refused_with, signed, verify


def test_what_is_signed_is_verified(shop: Path) -> None:
    signed(shop)
    result = verify(shop)

    assert result.exit_code == 0
    assert "Verified. Signed by acme." in result.stdout
    assert "get_forecast" in result.stdout


def test_a_refusal_is_left_to_main_with_its_stable_code(shop: Path) -> None:
    signed(shop)
    result = verify(shop, server=f"{SERVER}/other")

    assert (refused_with(result), result.stdout) == ("manifest.server_mismatch", "")


def test_time_can_be_given(shop: Path) -> None:
    signed(shop)

    assert refused_with(verify(shop, "--at", "2199-01-01T00:00:00Z")) == "manifest.expired"
    assert refused_with(verify(shop, "--at", "2001-01-01T00:00:00Z")) == "manifest.not_yet_valid"


def test_json_says_what_was_verified(shop: Path) -> None:
    entries = signed(shop, "--risk", "get_forecast=low")["predicate"]["tools"]

    assert json.loads(verify(shop, "--json").stdout) == {
        "verified": True,
        "reason": None,
        "detail": None,
        "server": str(SERVER),
        "serial": 1,
        "tools": [
            {"name": "get_forecast", "risk": "low", "digest": entries[0]["digest"]},
            {"name": "set_alert", "risk": "high", "digest": entries[1]["digest"]},
        ],
        "signers": ["acme"],
    }


def test_json_says_why_not(shop: Path) -> None:
    signed(shop)
    result = verify(shop, "--json", "--at", "2199-01-01T00:00:00Z")
    report = json.loads(result.stdout)

    assert refused_with(result) == "manifest.expired"
    assert (report["verified"], report["reason"], report["serial"]) == (False, "manifest.expired", None)
    assert (report["tools"], report["signers"]) == ([], [])


@pytest.mark.parametrize(
    "options",
    [
        ("--at", "tomorrow"),
        ("--at", ""),
        ("--policy", "/nowhere"),
        ("--server", "x"),
        ("--policy", "key.pem"),
    ],
)
def test_what_cannot_be_used_to_verify_is_a_usage_error(shop: Path, options: tuple[str, str]) -> None:
    signed(shop)
    name, value = options

    assert verify(shop, name, shop / value if value == "key.pem" else value).exit_code == 2


def test_a_manifest_that_is_not_there_is_a_usage_error(shop: Path) -> None:
    assert verify(shop).exit_code == 2
