"""The file is read again when asked: authorisation takes effect, a bad file does not, the rest is named."""

from pathlib import Path

import pytest

from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.agent.reload import Reload, needs_restart

FILE = """\
identity:
  socket: unix:///s
  spiffe_id: spiffe://a.test/mcp/weather
egress:
  listen: unix:/run/egress.sock
  user:
    sub: alice
    sub_iss: https://idp.a.test
  servers:
    - name: bank
      spiffe_id: spiffe://a.test/mcp/bank
      address: 127.0.0.1:8443
ingress:
  listen: 127.0.0.1:0
  peers: [spiffe://a.test/planner]
  servers:
    - name: weather
      upstream: http://127.0.0.1:9000/mcp
      manifest: m.json
  trust_policy: t.json
audit:
  file: audit.jsonl
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(FILE)
    return path


class Applied:
    def __init__(self) -> None:
        self.configs: list[AgentConfig] = []

    def __call__(self, config: AgentConfig) -> None:
        self.configs.append(config)


def changed(file: Path, before: str, after: str) -> AgentConfig:
    assert before in FILE
    file.write_text(FILE.replace(before, after))
    return load(file)


def test_what_the_file_says_now_is_applied(file: Path) -> None:
    reload, applied = Reload(file, load(file)), Applied()
    reload.applied_by(applied)
    now = changed(file, "a.test/planner", "a.test/reviewer")
    reload()
    assert applied.configs == [now]


@pytest.mark.parametrize("text", ["ingress: [", "", FILE.replace("peers", "pears")])
def test_a_file_that_cannot_be_read_changes_nothing(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    reload, applied = Reload(file, load(file)), Applied()
    reload.applied_by(applied)
    file.write_text(text)
    reload()
    assert applied.configs == []
    assert "agent.yaml:" in caplog.text
    assert "what is in force stays so" in caplog.text


def test_a_file_that_is_gone_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = Reload(file, load(file))
    file.unlink()
    reload()
    assert "what is in force stays so" in caplog.text


def test_an_agent_that_is_still_starting_says_so(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    Reload(file, load(file))()
    assert "still starting" in caplog.text


AUTHORIZATION = {
    "peers": ("[spiffe://a.test/planner]", "[]"),
    "a server": ("a.test/mcp/bank", "a.test/mcp/*"),
}


@pytest.mark.parametrize(("before", "after"), AUTHORIZATION.values(), ids=AUTHORIZATION)
def test_authorization_needs_no_restart(file: Path, before: str, after: str) -> None:
    assert needs_restart(load(file), changed(file, before, after)) == ()


OTHER = {
    "identity": ("unix:///s", "unix:///t"),
    "egress": ("127.0.0.1:8443", "127.0.0.1:8444"),
    "ingress": ("manifest: m.json", "manifest: n.json"),
    "audit": ("audit.jsonl", "elsewhere.jsonl"),
    "connections": ("audit:", "connections:\n  max_lifetime: 7\naudit:"),
}


@pytest.mark.parametrize("section", OTHER)
def test_everything_else_does_and_is_named(
    file: Path, section: str, caplog: pytest.LogCaptureFixture
) -> None:
    reload, applied = Reload(file, load(file)), Applied()
    reload.applied_by(applied)
    assert needs_restart(load(file), changed(file, *OTHER[section])) == (section,)
    reload()
    assert len(applied.configs) == 1
    assert f"'{section}' has changed, which needs a restart" in caplog.text
