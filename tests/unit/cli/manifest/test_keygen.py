"""What `manifest keygen` makes."""

import stat
from pathlib import Path

import pytest

from spiffe_mcp.manifest.keys import PublicKey
from tests.unit.cli.manifest.publishing import run


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
