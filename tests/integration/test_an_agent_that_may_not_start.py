"""An agent that cannot be sure of what it would enforce does not start: exit code 1, and why, in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.manifest import FileSigner
from tests.fakes import commands
from tests.fakes.mesh import Site
from tests.fakes.publisher import p256_pem

Break: TypeAlias = Callable[[Site], object]


def replaced(name: str, old: str, new: str) -> Break:
    def break_it(site: Site) -> None:
        path = site.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return break_it


def one_byte_of_the_manifest(site: Site) -> None:
    path = site.folder / "manifest.json"
    envelope = json.loads(path.read_text())
    payload = envelope["payload"]
    envelope["payload"] = ("f" if payload[0] != "f" else "e") + payload[1:]
    path.write_text(json.dumps(envelope))


def log_for_everybody(site: Site) -> None:
    log = site.folder / "ingress.jsonl"
    log.touch()
    log.chmod(0o666)


CONFIG: Final = "ingress.yaml"

# What is broken; the reason, and what an operator needs to read to put it right.
BROKEN: Final[dict[str, tuple[Break, Reason, tuple[str, ...]]]] = {
    "an unknown key": (
        replaced(CONFIG, "  recheck: 60", "  rechekc: 60"),
        Reason.CONFIG_INVALID,
        ("ingress.yaml:", "ingress.rechekc", "unknown key; expected one of:", "recheck"),
    ),
    "a peer that is no SPIFFE ID": (
        replaced(CONFIG, "- spiffe://mesh.test/ai-agent/planner", "- https://mesh.test/ai-agent/planner"),
        Reason.CONFIG_INVALID,
        ("ingress.yaml:", "ingress.peers[0]", "expected a SPIFFE ID"),
    ),
    "a manifest that is not there": (
        lambda site: (site.folder / "manifest.json").unlink(),
        Reason.CONFIG_INVALID,
        ("manifest.json", "No such file"),
    ),
    "a manifest signed by an unknown key": (
        lambda site: site.trust(FileSigner.from_pem(p256_pem())),
        Reason.MANIFEST_SIGNATURE,
        ("manifest.json",),
    ),
    "a manifest for another server": (
        lambda site: site.sign_manifest(SpiffeId.parse("spiffe://mesh.test/mcp/vault")),
        Reason.MANIFEST_SERVER_MISMATCH,
        ("manifest.json", "spiffe://mesh.test/mcp/vault"),
    ),
    "an altered manifest": (one_byte_of_the_manifest, Reason.MANIFEST_SIGNATURE, ("manifest.json",)),
    "a policy that does not compile": (
        lambda site: site.write_policy("package mcp.authz\n\ndecision := {\n"),
        Reason.POLICY_INVALID,
        ("policy.rego",),
    ),
    "an audit log that is a folder": (
        lambda site: (site.folder / "ingress.jsonl").mkdir(),
        Reason.AUDIT_UNAVAILABLE,
        ("ingress.jsonl",),
    ),
    "an audit log that others may write to": (
        log_for_everybody,
        Reason.AUDIT_UNAVAILABLE,
        ("ingress.jsonl", "only its owner"),
    ),
}


@pytest.mark.parametrize(("break_it", "reason", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_it_exits_1_and_says_why(
    folder: Path, break_it: Break, reason: Reason, said: tuple[str, ...]
) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    config = site.ingress_config("unix:///nonexistent/api.sock", "http://127.0.0.1:9/mcp")
    break_it(site)
    ended = commands.run("agent", "--config", config, "--log-level", "error")
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{reason.code}: ")
    for words in said:
        assert words in line
