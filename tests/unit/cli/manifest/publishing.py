"""The manifest commands as a publisher types them, and what came out."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from spiffe_mcp.cli.manifest import app
from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import dsse
from tests.fakes.publisher import SERVER


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
