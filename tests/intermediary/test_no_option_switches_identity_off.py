"""No option of an agent switches a check of identity off, under whatever name; and none has a lax default.

A gateway was seen whose `insecureHost: true` silently switched its check of SPIFFE IDs off. Here such a key
is unknown, what names a peer has to be there and cannot name everybody, what decides cannot be left out.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from spiffe_mcp.agent.config import load
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy import RegoPolicy

REFERENCE: Final = (Path(__file__).parents[2] / "docs/reference/configuration.md").read_text()
# What such options are called elsewhere.
NAMES: Final = (
    "insecure",
    "insecure_host",
    "insecureHost",
    "insecure_skip_verify",
    "insecureSkipVerify",
    "skip_verify",
    "verify",
    "tls_verify",
    "verify_mode",
    "tls",
    "allow_all",
    "allow_any",
    "anonymous",
    "disable_auth",
    "auth",
    "trust_all",
    "subject_alt_names",
    "min_tls_version",
    "ciphers",
    "plaintext",
    "debug",
    "permissive",
    "fail_open",
    "dry_run",
)
# A key of the reference that begins so would be one of them.
SOUNDS_LAX: Final = re.compile(
    r"insecure|skip|verify|disable|trust_all|anonymous|permissive|fail_open|allow_a"
)
EVERYBODY: Final = (
    "*",
    "**",
    "spiffe://*",
    "spiffe://*/**",
    "spiffe://**",
    "spiffe://*.test/**",
    "spiffe://",
    "any",
    "",
)


def complete() -> Any:
    """The first complete file of the reference."""
    return yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)[0])


def sections(document: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of a file, the outermost first."""
    if isinstance(document, dict):
        yield path or "top", document
        for key, value in document.items():
            yield from sections(value, f"{path}.{key}".lstrip("."))
    elif isinstance(document, list):
        for value in document:
            yield from sections(value, path)


SECTIONS: Final = sorted({path for path, _ in sections(complete())})


def refused(document: Any, folder: Path) -> str:
    """Why an agent does not start from it."""
    file = folder / "agent.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(Refused) as caught:
        load(file)
    assert caught.value.reason is Reason.CONFIG_INVALID
    return caught.value.detail


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", SECTIONS)
def test_an_option_of_such_a_name_is_unknown_everywhere(where: str, name: str, tmp_path: Path) -> None:
    document = complete()
    section = next(mapping for path, mapping in sections(document) if path == where)
    if name in section:
        pytest.skip(f"{where}.{name} is something else")
    section[name] = True
    assert "unknown key" in refused(document, tmp_path)


def test_no_documented_key_sounds_like_one() -> None:
    keys = set(re.findall(r"^\| `(\w+)` \|", REFERENCE, re.MULTILINE))
    assert len(keys) > 40
    assert {key for key in keys if SOUNDS_LAX.search(key)} == set()


def first_server(document: Any, side: str) -> Any:
    return document[side]["servers"][0]


@pytest.mark.parametrize("pattern", EVERYBODY)
def test_nobody_can_say_that_everybody_may_come_or_answer(pattern: str, tmp_path: Path) -> None:
    for_peers, for_servers = complete(), complete()
    for_peers["ingress"]["peers"] = [pattern]
    first_server(for_servers, "egress")["spiffe_id"] = pattern
    assert "peers" in refused(for_peers, tmp_path)
    assert "spiffe_id" in refused(for_servers, tmp_path)


@pytest.mark.parametrize(
    ("side", "key"),
    [("egress", "spiffe_id"), ("egress", "user"), ("ingress", "manifest"), ("ingress", "trust_policy")],
)
def test_what_decides_cannot_be_left_out(side: str, key: str, tmp_path: Path) -> None:
    document = complete()
    section = document[side] if key in document[side] else first_server(document, side)
    del section[key]
    assert key in refused(document, tmp_path)


def test_without_a_policy_there_is_no_agent() -> None:
    with pytest.raises(Refused) as caught:
        RegoPolicy.compile({}, {}, "")
    assert caught.value.reason is Reason.POLICY_INVALID


def test_where_nobody_is_said_to_come_nobody_may(tmp_path: Path) -> None:
    document = deepcopy(complete())
    del document["ingress"]["peers"]
    file = tmp_path / "agent.yaml"
    file.write_text(yaml.safe_dump(document))
    (ingress,) = load(file).ingresses
    assert ingress.peers.patterns == ()
