"""The configuration is read again when asked, or when a file changed: put in force whole, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.agent.reload import Outcome, Reload, check_changeable
from spiffe_mcp.errors import Reason, Refused

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


class Running:
    """An agent that puts in force whatever it is given, unless it is told not to."""

    def __init__(self) -> None:
        self.configs: list[AgentConfig] = []
        self.results: list[Reason | None] = []
        self.changed: list[set[str]] = []
        self.refuses: Refused | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.told = asyncio.Event()

    def prepared(self, anew: AgentConfig) -> Callable[[], None]:
        self.meanwhile()
        if self.refuses is not None:
            raise self.refuses
        return lambda: self.configs.append(anew)

    def reloaded(self, outcome: Outcome) -> None:
        self.results.append(None if outcome.refused is None else outcome.refused.reason)
        self.changed.append({Path(file).name for file in outcome.changed})
        self.told.set()


def reload_of(file: Path) -> tuple[Reload, Running]:
    reload, running = Reload(file, load(file)), Running()
    reload.applied_by(running)
    return reload, running


@contextmanager
def in_the_background(*coroutines: Coroutine[object, object, None]) -> Iterator[None]:
    tasks = [asyncio.get_running_loop().create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def changed(file: Path, before: str, after: str) -> AgentConfig:
    assert before in FILE
    file.write_text(FILE.replace(before, after))
    return load(file)


def test_what_the_file_says_now_is_put_in_force(file: Path) -> None:
    reload, running = reload_of(file)
    now = changed(file, "a.test/planner", "a.test/reviewer")
    reload()
    assert (running.configs, running.results) == ([now], [None])


@pytest.mark.parametrize("text", ["ingress: [", "", FILE.replace("peers", "pears"), None])
def test_a_file_that_cannot_be_read_changes_nothing(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    reload, running = reload_of(file)
    file.unlink()
    if text is not None:
        file.write_text(text)
    reload()
    assert (running.configs, running.results) == ([], [Reason.CONFIG_INVALID])
    assert "agent.yaml" in caplog.text
    assert "what is in force stays so" in caplog.text


def test_what_the_agent_refuses_is_told_and_the_next_file_is_held_against_what_is_in_force(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reload, running = reload_of(file)
    running.refuses = Refused(Reason.POLICY_INVALID, "p.rego: line 1")
    changed(file, "manifest: m.json", "manifest: n.json")
    reload()
    assert running.results == [Reason.POLICY_INVALID]
    assert "policy.invalid: p.rego: line 1; what is in force stays so" in caplog.text
    assert file.with_name("m.json") in set(reload.files())


def test_what_has_changed_is_told_by_name_until_it_is_in_force(file: Path) -> None:
    file.with_name("t.json").write_text("1")
    reload, running = reload_of(file)
    reload()
    file.with_name("t.json").write_text("2")
    changed(file, "sub: alice", "sub: bob")
    running.refuses = Refused(Reason.POLICY_INVALID)
    reload()
    running.refuses = None
    reload()
    reload()
    assert running.changed == [set(), {"agent.yaml", "t.json"}, {"agent.yaml", "t.json"}, set()]


def test_what_changes_while_it_is_read_is_of_no_one_moment_and_not_put_in_force(file: Path) -> None:
    """A ConfigMap that is turned in the middle: half of it would be the old, half the new."""
    reload, running = reload_of(file)
    running.meanwhile = lambda: file.with_name("m.json").write_text("another")
    reload()
    assert (running.configs, running.results) == ([], [Reason.RELOAD_FILES_CHANGING])
    running.meanwhile = lambda: None
    reload()
    assert running.results[1:] == [None]


def test_several_processes_prepare_and_then_all_commit_or_none_does(file: Path) -> None:
    both = [reload_of(file), reload_of(file)]
    anew = changed(file, "sub: alice", "sub: bob")
    one, other = (reload.prepare() for reload, _ in both)
    assert one.contents == other.contents
    assert [running.configs for _, running in both] == [[], []]
    for (reload, running), prepared in zip(both, (one, other), strict=True):
        reload.commit(prepared)
        assert (running.configs, running.results) == ([anew], [None])
    changed(file, "sub: alice", "sub: carol")
    reload, running = both[0]
    reload.prepare()
    reload.refuse(Refused(Reason.POLICY_INVALID, "another of the processes"))
    assert (running.configs, running.results) == ([anew], [None, Reason.POLICY_INVALID])


def test_an_agent_that_is_still_starting_says_so(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    Reload(file, load(file))()
    assert "still starting" in caplog.text


CHANGEABLE = {
    "peers": ("[spiffe://a.test/planner]", "[]"),
    "who a server is": ("a.test/mcp/bank", "a.test/mcp/*"),
    "where a server is": ("127.0.0.1:8443", "127.0.0.1:8444"),
    "the user": ("sub: alice", "sub: bob"),
    "a manifest": ("manifest: m.json", "manifest: n.json"),
    "an upstream": ("127.0.0.1:9000", "127.0.0.1:9001"),
    "the trust policy": ("trust_policy: t.json", "trust_policy: u.json"),
}


@pytest.mark.parametrize(("before", "after"), CHANGEABLE.values(), ids=CHANGEABLE)
def test_what_is_decided_by_needs_no_restart(file: Path, before: str, after: str) -> None:
    check_changeable(load(file), changed(file, before, after))


LASTING = {
    "identity": ("unix:///s", "unix:///t"),
    "egress": ("unix:/run/egress.sock", "unix:/run/other.sock"),
    "ingress": ("listen: 127.0.0.1:0", "listen: 127.0.0.1:1"),
    "audit": ("audit.jsonl", "elsewhere.jsonl"),
    "connections": ("audit:", "connections:\n  max_lifetime: 7\naudit:"),
    "admin": ("audit:", "admin:\n  listen: 127.0.0.1:1\naudit:"),
}


@pytest.mark.parametrize("section", LASTING)
def test_what_the_agent_is_needs_a_restart_and_is_named(
    file: Path, section: str, caplog: pytest.LogCaptureFixture
) -> None:
    reload, running = reload_of(file)
    changed(file, *LASTING[section])
    reload()
    assert (running.configs, running.results) == ([], [Reason.RELOAD_NEEDS_RESTART])
    assert f"reload.needs_restart: '{section}'; what is in force" in caplog.text


async def test_a_storm_of_signals_is_one_reload(file: Path) -> None:
    reload, running = reload_of(file)
    for _ in range(1000):
        reload.ask()
    with in_the_background(reload.run()):
        await running.told.wait()
        await asyncio.sleep(0)
    assert running.results == [None]


async def test_what_was_asked_while_the_agent_started_is_done_then(file: Path) -> None:
    reload, running = Reload(file, load(file)), Running()
    reload.ask()
    reload.applied_by(running)
    with in_the_background(reload.run()):
        await running.told.wait()
    assert running.results == [None]


def test_every_file_that_is_read_again_is_watched(file: Path) -> None:
    with_policy = FILE.replace(
        "  trust_policy: t.json", "  trust_policy: t.json\n  policy: [a.rego, b.rego]\n  policy_data: d.json"
    )
    file.write_text(
        with_policy.replace("http://127.0.0.1:9000/mcp", "https://mcp.test/\n      upstream_ca: ca.pem")
    )
    names = {path.name for path in Reload(file, load(file)).files()}
    assert names == {"agent.yaml", "t.json", "a.rego", "b.rego", "d.json", "m.json", "ca.pem"}


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[tuple[Running, Callable[[], Coroutine[object, object, None]]]]:
    """A reload that watches its files, and what waits until it has read them once more."""
    reload, running = reload_of(file)

    async def read() -> None:
        await running.told.wait()
        running.told.clear()
        for _ in range(20):  # looks, of which none finds a change
            await asyncio.sleep(0)
        assert not running.told.is_set()

    with in_the_background(reload.run(), reload.watch(interval=0)):
        yield running, read


async def test_a_file_that_changes_is_read_once(file: Path) -> None:
    async with watched(file) as (running, read):
        anew = changed(file, "a.test/planner", "a.test/reviewer")
        await read()
        assert running.configs == [anew]


async def test_a_file_that_a_refused_configuration_names_is_watched_too(file: Path) -> None:
    """Whoever adds a policy that is wrong corrects it in that file."""
    async with watched(file) as (running, read):
        running.refuses = Refused(Reason.POLICY_INVALID)
        anew = changed(file, "manifest: m.json", "manifest: n.json")
        await read()
        running.refuses = None
        file.with_name("n.json").write_text("corrected")
        await read()
        assert (running.configs, running.results) == ([anew], [Reason.POLICY_INVALID, None])


async def test_files_that_are_named_only_now_are_no_change_by_themselves(file: Path) -> None:
    async with watched(file) as (running, read):
        file.with_name("n.json").write_text("before")
        changed(file, "manifest: m.json", "manifest: n.json")
        await read()
        file.with_name("n.json").write_text("after it was read")
        await read()
        assert running.changed == [{"agent.yaml", "n.json"}, {"n.json"}]
