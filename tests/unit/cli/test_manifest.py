"""The manifest commands: what they print, what they write, how they exit."""

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spiffe_mcp.cli import clock
from spiffe_mcp.cli.manifest import app
from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import sha256_hex
from spiffe_mcp.manifest.keys import PublicKey
from tests.fakes.publisher import SERVER, tools


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A publisher's directory: key, listed tools, and the trust policy of somebody who trusts the key."""
    made = run("keygen", "--out", tmp_path / "key.pem")
    assert made.exit_code == 0
    rule = {"server": str(SERVER), "tools": ["*"], "signers": ["acme"]}
    (tmp_path / "trust.json").write_text(
        json.dumps({"version": 1, "keys": {"acme": made.stdout}, "rules": [rule]})
    )
    (tmp_path / "tools.json").write_text(json.dumps({"tools": tools()}))
    return tmp_path


def run(*arguments: object) -> Result:
    """One command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused_with(result: Result) -> str:
    """The code of the refusal that a command ended in; `main` makes exit code 1 of it."""
    assert isinstance(result.exception, Refused)
    return result.exception.reason.code


def sign(shop: Path, *options: object, tools_file: str = "tools.json", serial: int = 1) -> Result:
    """`manifest sign` with the options it always needs."""
    fixed = ("--server", SERVER, "--name", "acme/weather", "--version", "1", "--serial", serial)
    return run("sign", shop / tools_file, *fixed, "--key", shop / "key.pem", *options)


def verify(shop: Path, *options: object, server: object = SERVER) -> Result:
    """`manifest verify` of what was signed."""
    return run("verify", shop / "m.json", "--policy", shop / "trust.json", "--server", server, *options)


def signed(shop: Path, *options: object) -> Any:
    """The statement inside what `sign` writes."""
    result = sign(shop, "--out", shop / "m.json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(dsse.parse((shop / "m.json").read_bytes()).payload)


def test_what_is_signed_is_verified(shop: Path) -> None:
    signed(shop)
    result = verify(shop)

    assert result.exit_code == 0
    assert "Verified. Signed by acme." in result.stdout
    assert "get_forecast" in result.stdout


@pytest.mark.parametrize("algorithm", ["p256", "ed25519"])
def test_keygen_writes_a_private_file_and_prints_the_public_key(tmp_path: Path, algorithm: str) -> None:
    out = tmp_path / "k.pem"
    result = run("keygen", "--out", out, "--algorithm", algorithm)

    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert f"Key ID: {PublicKey.from_pem(result.stdout_bytes).key_id}" in result.stderr
    assert "PRIVATE" not in result.output


def test_keygen_never_overwrites_a_key(shop: Path) -> None:
    before = (shop / "key.pem").read_bytes()

    assert run("keygen", "--out", shop / "key.pem").exit_code == 2
    assert before == (shop / "key.pem").read_bytes()


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


@pytest.mark.parametrize("form", ["array", "answer"])
def test_other_forms_of_a_list_are_understood(shop: Path, form: str) -> None:
    value = tools() if form == "array" else {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools()}}
    (shop / "other.json").write_text(json.dumps(value))

    assert sign(shop, tools_file="other.json").exit_code == 0


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


@pytest.mark.parametrize("content", ["5", "{}", '{"tools": {}}', '{"tools": [], "nextCursor": "2"}', None])
def test_a_file_that_lists_no_tools_is_a_usage_error(shop: Path, content: str | None) -> None:
    if content is not None:
        (shop / "bad.json").write_text(content)

    assert sign(shop, tools_file="bad.json").exit_code == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "json.malformed"),
        ('{"tools": [], "tools": []}', "json.duplicate_key"),
        ("[]", "manifest.tool_count"),
        ('["get_forecast"]', "manifest.definition"),
        ('[{"name": "a b", "inputSchema": {"type": "object"}}]', "manifest.tool_name"),
        ('[{"name": "a", "inputSchema": {"type": "object"}, "description": "\\u200b"}]', "manifest.text"),
        ('{"predicate": {}}', "manifest.field_missing"),
    ],
)
def test_tools_that_may_not_be_signed_are_refused_with_the_code(shop: Path, content: str, code: str) -> None:
    (shop / "bad.json").write_text(content)
    result = sign(shop, "--out", shop / "m.json", tools_file="bad.json")

    assert refused_with(result) == code
    assert not (shop / "m.json").exists()


def test_a_key_that_cannot_sign_is_a_usage_error_and_not_quoted(shop: Path) -> None:
    (shop / "key.pem").write_text("-----BEGIN SECRET-----")
    result = sign(shop)

    assert result.exit_code == 2
    assert "SECRET" not in result.output


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


def test_the_clock_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
