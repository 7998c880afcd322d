"""A publisher's directory."""

import json
from pathlib import Path

import pytest

from tests.fakes.publisher import SERVER, tools
from tests.unit.cli.manifest.publishing import run


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
