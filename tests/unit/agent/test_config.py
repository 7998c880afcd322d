"""The agent's configuration: every key, and for every mistake the line it stands in."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.agent.config import (
    AgentConfig,
    AuditConfig,
    EgressConfig,
    IngressConfig,
    Listen,
    ServerConfig,
)
from spiffe_mcp.agent.identity_config import IdentityConfig
from spiffe_mcp.audit import Fsync
from spiffe_mcp.context import User
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.mcp import Era
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.routes import EgressRoute, ServerName
from spiffe_mcp.mesh.stdio import Processes, Program
from spiffe_mcp.mesh.targets import HttpUpstream, Target, Trust, UnixUpstream
from tests.fakes.configuration import complaint, read

FULL = """\
identity:
  source: workload-api
  socket: unix:///run/spire/agent.sock
  spiffe_id: spiffe://a.test/mcp/weather
egress:
  listen: 127.0.0.1:7070
  user:
    sub: alice
    sub_iss: https://idp.a.test
    groups: [research, eu]
    department: finance
    role: analyst
    clearance: secret
    session: s-1
    purpose: report
    task: t-7
    approvals: [CHG-1]
    acr: "2"
    amr: [otp, pwd]
    auth_time: 1700000000
    risk_score: 12.5
    data_classification: internal
    compliance_frameworks: [gdpr]
  servers:
    - name: bank
      spiffe_id: spiffe://b.test/mcp/bank
      address: bank.b.test:8443
    - name: weather
      spiffe_id: spiffe://a.test/mcp/weather
      address: "[::1]:8443"
ingress:
  listen: 0.0.0.0:8443
  peers:
    - spiffe://a.test/ai-agent/*
    - spiffe://b.test/**
  servers:
    - name: weather
      upstream: http://127.0.0.1:9000/mcp
      manifest: manifests/weather.json
  trust_policy: trust.json
  policy: [policy/a.rego, /etc/b.rego]
  policy_data: data.json
  policy_version: 2026-11-23.1
  environment: production
  recheck: 60
audit:
  file: audit.jsonl
  fsync: never
  shown_parameters: [city, days]
"""
EGRESS = """\
identity:
  socket: unix:///s
egress:
  listen: unix:/run/egress.sock
  user:
    sub: alice
    sub_iss: https://idp.a.test
  servers:
    - name: weather
      spiffe_id: spiffe://a.test/mcp/weather
      address: 127.0.0.1:8443
audit:
  file: /var/log/audit.jsonl
"""
INGRESS = """\
identity:
  socket: unix:///s
  spiffe_id: spiffe://a.test/mcp/weather
ingress:
  listen: 127.0.0.1:0
  servers:
    - name: weather
      upstream: http://127.0.0.1:9000/mcp
      manifest: m.json
  trust_policy: t.json
audit:
  file: audit.jsonl
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    weather = SpiffeId.parse("spiffe://a.test/mcp/weather")
    assert read(tmp_path, FULL) == AgentConfig(
        identity=IdentityConfig("unix:///run/spire/agent.sock", weather),
        egress=EgressConfig(
            listen=Listen(Address("127.0.0.1", 7070)),
            mode=0o600,
            user=User(
                sub="alice",
                sub_iss="https://idp.a.test",
                groups=("research", "eu"),
                department="finance",
                role="analyst",
                clearance="secret",
                session="s-1",
                purpose="report",
                task="t-7",
                approvals=("CHG-1",),
                acr="2",
                amr=("otp", "pwd"),
                auth_time=1700000000,
                risk_score=12.5,
                data_classification="internal",
                compliance_frameworks=("gdpr",),
            ),
            servers=(
                EgressRoute(
                    ServerName("bank"),
                    IdPattern.parse("spiffe://b.test/mcp/bank"),
                    (Address("bank.b.test", 8443),),
                ),
                EgressRoute(ServerName("weather"), IdPattern.exactly(weather), (Address("::1", 8443),)),
            ),
        ),
        ingresses=(
            IngressConfig(
                identity=weather,
                workload=None,
                listen=Address("0.0.0.0", 8443),  # noqa: S104  the mesh's side, which asks for an SVID
                peers=AllowedIds(
                    (IdPattern.parse("spiffe://a.test/ai-agent/*"), IdPattern.parse("spiffe://b.test/**"))
                ),
                servers=(
                    ServerConfig(
                        ServerName("weather"),
                        HttpUpstream(Address("127.0.0.1", 9000), "/mcp"),
                        tmp_path / "manifests/weather.json",
                    ),
                ),
                trust_policy=tmp_path / "trust.json",
                policy=(tmp_path / "policy/a.rego", Path("/etc/b.rego")),
                policy_data=tmp_path / "data.json",
                policy_version="2026-11-23.1",
                environment="production",
                recheck=timedelta(seconds=60),
            ),
        ),
        audit=AuditConfig(tmp_path / "audit.jsonl", Fsync.NEVER, frozenset({"city", "days"})),
    )


def test_an_egress_needs_little(tmp_path: Path) -> None:
    config = read(tmp_path, EGRESS)
    assert config.ingresses == ()
    assert config.identity.spiffe_id is None  # the first SVID that comes
    assert config.egress is not None
    assert config.egress.listen == Listen(Path("/run/egress.sock"))
    assert config.egress.user == User("alice", "https://idp.a.test")
    assert config.audit == AuditConfig(Path("/var/log/audit.jsonl"), Fsync.ALWAYS, frozenset())


def test_an_ingress_needs_little_and_lets_nobody_in_unless_told(tmp_path: Path) -> None:
    config = read(tmp_path, INGRESS)
    assert config.egress is None
    [ingress] = config.ingresses
    assert ingress.peers == AllowedIds(())
    assert (ingress.policy, ingress.policy_data) == ((), None)
    assert ingress.policy_version == ""
    assert (ingress.environment, ingress.recheck) == ("default", timedelta(seconds=30))


# -- complaints: a line of FULL, what stands there instead, and what is said --------------------------------

A_TEXT = "expected a text"
AN_ID = "expected a SPIFFE ID (spiffe://trust-domain/path)"
HOST_PORT = "expected host:port, found"
WRONG: dict[str, tuple[str, str]] = {
    "  source: workload-api": (
        "  source: broker",
        "2: identity: 'source: broker' needs a section 'broker'",
    ),
    "  socket: unix:///run/spire/agent.sock": (
        "  socket: /run/spire/agent.sock",
        "3: identity.socket: expected unix:///path/to/socket, found '/run/spire/agent.sock'",
    ),
    "  spiffe_id: spiffe://a.test/mcp/weather\negress": (
        "  spiffe_id: https://a.test\negress",
        f"4: identity.spiffe_id: {AN_ID}, found 'https://a.test'",
    ),
    "  listen: 127.0.0.1:7070": (
        "  listen: unix:egress.sock",
        "6: egress.listen: expected host:port or unix:/path, found 'unix:egress.sock'",
    ),
    "    sub: alice\n": ('    sub: ""\n', f"8: egress.user.sub: {A_TEXT}"),
    "    sub_iss: https://idp.a.test": ("    sub_iss: []", f"9: egress.user.sub_iss: {A_TEXT}"),
    "    groups: [research, eu]": ("    groups: research", "10: egress.user.groups: expected a list"),
    "    department: finance": ("    department: {a: b}", f"11: egress.user.department: {A_TEXT}"),
    "    role: analyst": ('    role: "a\\nb"', "8: egress.user: role: printable text of 1 to 256 bytes"),
    "    clearance: secret": (
        f"    clearance: {'x' * 257}",
        "8: egress.user: clearance: printable text of 1 to 256 bytes",
    ),
    "    session: s-1": ("    session:", f"14: egress.user.session: {A_TEXT}"),
    "    purpose: report": ("    purpose: []", f"15: egress.user.purpose: {A_TEXT}"),
    "    task: t-7": (
        "    tusk: t-7",
        "16: egress.user.tusk: unknown key; expected one of: sub, sub_iss, groups",
    ),
    "    approvals: [CHG-1]": ("    approvals: [[CHG-1]]", f"17: egress.user.approvals[0]: {A_TEXT}"),
    '    acr: "2"': ("    acr: {}", f"18: egress.user.acr: {A_TEXT}"),
    "    amr: [otp, pwd]": ('    amr: [otp, ""]', f"19: egress.user.amr[1]: {A_TEXT}"),
    "    auth_time: 1700000000": (
        "    auth_time: yesterday",
        "20: egress.user.auth_time: expected whole seconds since 1970, found 'yesterday'",
    ),
    "    risk_score: 12.5": (
        "    risk_score: low",
        "21: egress.user.risk_score: expected a number, found 'low'",
    ),
    "    data_classification: internal": (
        '    data_classification: "\\u202e"',
        "8: egress.user: data_classification: printable text of 1 to 256 bytes",
    ),
    "    compliance_frameworks: [gdpr]": (
        f"    compliance_frameworks: [{', '.join('x' * 65)}]",
        "8: egress.user: compliance_frameworks: at most 64 entries",
    ),
    "    - name: bank": (
        "    - name: Bank",
        "25: egress.servers[0].name: expected a DNS label, found 'Bank'",
    ),
    "      spiffe_id: spiffe://b.test/mcp/bank": (
        "      spiffe_id: spiffe://b.test/mcp/",
        f"26: egress.servers[0].spiffe_id: {AN_ID}",
    ),
    "      address: bank.b.test:8443": (
        "      address: bank.b.test",
        f"27: egress.servers[0].address: {HOST_PORT} 'bank.b.test'",
    ),
    '      address: "[::1]:8443"': (
        "      adress: x",
        "28: egress.servers[1]: 'address' is missing; expected host:port",
    ),
    "  listen: 0.0.0.0:8443": ("  listen: unix:/x", f"32: ingress.listen: {HOST_PORT} 'unix:/x'"),
    "    - spiffe://b.test/**": (
        "    - spiffe://b.test/**/x",
        f"35: ingress.peers[1]: {AN_ID}, * or ** for segments, found",
    ),
    "      upstream: http://127.0.0.1:9000/mcp": (
        "      upstream: ftp://127.0.0.1:9000/mcp",
        "38: ingress.servers[0].upstream: expected http://host:port/path, https://host/path or unix:/path",
    ),
    "      manifest: manifests/weather.json": (
        "      manifest:",
        "39: ingress.servers[0].manifest: expected a path",
    ),
    "  trust_policy: trust.json\n": ("", "32: ingress: 'trust_policy' is missing; expected a path"),
    "  policy: [policy/a.rego, /etc/b.rego]": ("  policy: a.rego", "41: ingress.policy: expected a list"),
    "  policy_data: data.json": ("  policy_data: []", "42: ingress.policy_data: expected a path"),
    "  policy_version: 2026-11-23.1": ("  policy_version: []", "43: ingress.policy_version: expected a text"),
    "  environment: production": ('  environment: ""', f"44: ingress.environment: {A_TEXT}"),
    "  recheck: 60": (
        "  recheck: 0",
        "45: ingress.recheck: expected whole seconds from 1 to 3600, found '0'",
    ),
    "  file: audit.jsonl\n": ("", "47: audit: 'file' is missing; expected a path"),
    "  fsync: never": (
        "  fsync: sometimes",
        "48: audit.fsync: expected 'always' or 'never', found 'sometimes'",
    ),
    "  shown_parameters: [city, days]": (
        "  shown_parameters: city",
        "49: audit.shown_parameters: expected a list",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "said"), [(right, *pair) for right, pair in WRONG.items()])
def test_a_mistake_is_named_by_file_line_and_key(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert FULL.count(right) == 1
    assert complaint(tmp_path, FULL.replace(right, wrong)).startswith(f"agent.yaml:{said}")


def test_no_key_is_missing_here() -> None:
    """Each line of the full example is got wrong above, or only opens a section."""
    sections = {"identity:", "egress:", "user:", "servers:", "ingress:", "peers:", "audit:"}
    repeated = {"- name: weather", "spiffe_id: spiffe://a.test/mcp/weather", "- spiffe://a.test/ai-agent/*"}
    lines = {line.strip() for line in FULL.splitlines()} - sections - repeated
    tried = {line.strip() for right in WRONG for line in right.splitlines()}
    assert lines <= tried


UNKNOWN = ("", "identity", "egress", "egress.user", "ingress", "audit")


@pytest.mark.parametrize("section", UNKNOWN)
def test_a_key_that_nobody_knows_is_refused_in_every_section(tmp_path: Path, section: str) -> None:
    """A setting that is misspelt must not be a setting that is off."""
    name = section.rpartition(".")[2]
    indent = "" if not section else "    " if "." in section else "  "
    text = FULL.replace(f"{name}:\n", f"{name}:\n{indent}nope: 1\n", 1) if section else FULL + "nope: 1\n"
    where = f"{section}.nope" if section else "nope"
    assert f": {where}: unknown key; expected one of: " in complaint(tmp_path, text)


@pytest.mark.parametrize("line", ["    - name: weather\n      upstream", "    - name: bank"])
def test_a_key_that_nobody_knows_is_refused_in_every_list(tmp_path: Path, line: str) -> None:
    head, _, rest = line.partition("\n")
    text = FULL.replace(line, f"{head}\n      nope: 1\n{rest}".rstrip("\n"), 1)
    assert "servers[0].nope: unknown key" in complaint(tmp_path, text)


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "3601", "1e3", "9" * 5000, "٣", "1_0", "0x10"])
def test_how_long_a_list_is_believed_is_bounded(tmp_path: Path, seconds: str) -> None:
    assert "recheck: expected whole seconds" in complaint(
        tmp_path, INGRESS.replace("  trust", f"  recheck: {seconds}\n  trust")
    )


@pytest.mark.parametrize("score", ["nan", "inf", "-0.1", "100.1"])
def test_a_risk_is_a_number_on_the_scale(tmp_path: Path, score: str) -> None:
    assert (
        complaint(tmp_path, FULL.replace("12.5", score))
        == "agent.yaml:8: egress.user: risk_score: a number from 0 to 100"
    )


def test_a_user_larger_than_a_context_may_carry_is_refused_at_the_start(tmp_path: Path) -> None:
    groups = ", ".join(f"{n:0250}" for n in range(20))
    assert "egress.user: user of" in complaint(tmp_path, FULL.replace("research, eu", groups))


@pytest.mark.parametrize("seconds", ["-1", "253402300800"])
def test_a_time_outside_the_calendar_is_refused(tmp_path: Path, seconds: str) -> None:
    assert "egress.user: auth_time: whole seconds" in complaint(tmp_path, FULL.replace("1700000000", seconds))


RULES: dict[str, tuple[str, str]] = {
    "neither side": (
        "identity:\n  socket: unix:///s\naudit:\n  file: a\n",
        "1: top level: an agent needs 'egress', 'ingress' or both",
    ),
    "an ingress that is nobody": (
        INGRESS.replace("  spiffe_id: spiffe://a.test/mcp/weather\n", ""),
        "4: ingress: needs 'identity.spiffe_id': which server's manifest and contexts are meant",
    ),
    "one name for two servers": (
        FULL.replace("name: bank", "name: weather"),
        "6: egress: 'servers' has to name at least one server, each once",
    ),
    "no server": (
        EGRESS[: EGRESS.index("    - name")].replace("servers:", "servers: []") + "audit:\n  file: a\n",
        "4: egress: 'servers' has to name at least one server, each once",
    ),
    "no identity": ("audit:\n  file: a\n", "1: top level: 'identity' is missing; expected a mapping"),
    "no audit": (EGRESS[: EGRESS.index("audit")], "1: top level: 'audit' is missing; expected a mapping"),
    "a section that is none": (
        EGRESS.replace("  file: /var/log/audit.jsonl", "  - x"),
        "13: audit: expected a mapping",
    ),
    "nothing": ("", "1: top level: expected a mapping"),
}


@pytest.mark.parametrize(("text", "said"), RULES.values(), ids=RULES)
def test_rules_between_keys(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, text).startswith(f"agent.yaml:{said}")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:7070", Address("::1", 7070)),
        ("unix:/run/a.sock", Path("/run/a.sock")),
    ],
)
def test_where_a_listener_binds(text: str, address: Any) -> None:
    assert Listen.parse(text) == Listen(address)


@pytest.mark.parametrize("text", ["", "unix:", "unix:a.sock", "unix:./a", "7070", "localhost", "/run/a.sock"])
def test_where_none_can(text: str) -> None:
    """A relative socket would depend on where the agent was started."""
    with pytest.raises(ValueError, match=r"^.*$"):
        Listen.parse(text)


def with_drain(seconds: str) -> str:
    return EGRESS + f"connections:\n  drain: {seconds}\n"


@pytest.mark.parametrize("seconds", [0, 3600])
def test_what_runs_at_the_end_has_time_or_none(tmp_path: Path, seconds: int) -> None:
    assert read(tmp_path, with_drain(str(seconds))).connections.drain == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", ["-1", "3601", "0.5", "forever"])
def test_no_end_takes_longer_than_an_hour(tmp_path: Path, seconds: str) -> None:
    said = complaint(tmp_path, with_drain(seconds))
    assert "connections.drain: expected whole seconds from 0 to 3600" in said


def test_each_server_has_an_oldest_era_of_its_own(tmp_path: Path) -> None:
    modern = "\n      minimum_era: modern"
    text = FULL.replace("address: bank.b.test:8443", f"address: bank.b.test:8443{modern}")
    config = read(tmp_path, text.replace("weather.json", f"weather.json{modern}"))
    assert config.egress is not None
    assert [server.minimum_era for server in config.egress.servers] == [Era.MODERN, Era.LEGACY]
    assert [server.minimum_era for server in config.ingresses[0].servers] == [Era.MODERN]


def test_an_era_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    wrong = FULL.replace("weather.json", "weather.json\n      minimum_era: ancient")
    said = "agent.yaml:40: ingress.servers[0].minimum_era: expected 'modern' or 'legacy', found 'ancient'"
    assert complaint(tmp_path, wrong) == said


def upstream_of(folder: Path, said: str) -> Target | Program:
    config = read(folder, FULL.replace("      upstream: http://127.0.0.1:9000/mcp", said))
    return config.ingresses[0].servers[0].upstream


def test_an_upstream_elsewhere_has_the_systems_authorities_or_those_of_a_file(tmp_path: Path) -> None:
    address = Address("tools.example", 443)
    text = "      upstream: https://tools.example/mcp"
    assert upstream_of(tmp_path, text) == HttpUpstream(address, "/mcp", Trust())
    with_file = f"{text}\n      upstream_ca: ca.pem"
    assert upstream_of(tmp_path, with_file) == HttpUpstream(address, "/mcp", Trust(tmp_path / "ca.pem"))


def test_an_upstream_may_be_a_unix_socket(tmp_path: Path) -> None:
    assert upstream_of(tmp_path, "      upstream: unix:/s:/mcp") == UnixUpstream(Path("/s"), "/mcp")


PROGRAM = """\
      upstream:
        stdio: [npx, -y, "@example/server"]
"""


def test_an_upstream_may_be_a_program(tmp_path: Path) -> None:
    assert upstream_of(tmp_path, PROGRAM) == Program(("npx", "-y", "@example/server"))


def test_a_program_has_surroundings(tmp_path: Path) -> None:
    more = "env: {TOKEN: s3cret, PORT: 80}", "cwd: here", "processes: shared", "max_processes: 4"
    program = upstream_of(tmp_path, PROGRAM + "\n".join(f"        {line}" for line in more))
    env = (("TOKEN", "s3cret"), ("PORT", "80"))
    command = ("npx", "-y", "@example/server")
    assert program == Program(command, env, tmp_path / "here", Processes.SHARED, 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    {
        "        env: {A-B: x}": "'stdio' has to be a command, and 'env' has to have names of variables",
        "        env: [x]": "env: expected a mapping",
        "        env: {X: [1]}": "env.X: expected a text",
        "        processes: many": "processes: expected 'session' or 'shared', found 'many'",
        "        max_processes: 0": "max_processes: expected 1 to 1024, found '0'",
        "        url: http://x/": "url: unknown key; expected one of: stdio, env, cwd, processes, max",
    }.items(),
)
def test_a_program_is_read_strictly(tmp_path: Path, wrong: str, said: str) -> None:
    text = FULL.replace("      upstream: http://127.0.0.1:9000/mcp", PROGRAM + wrong)
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize("command", ["[]", "ls", '[""]'])
def test_a_program_is_a_command(tmp_path: Path, command: str) -> None:
    text = f"      upstream:\n        stdio: {command}"
    assert "stdio" in complaint(tmp_path, FULL.replace("      upstream: http://127.0.0.1:9000/mcp", text))


@pytest.mark.parametrize("target", ["http://127.0.0.1:9000/mcp", "unix:/s:/mcp"])
def test_authorities_for_what_is_not_asked_for_its_name_are_a_mistake(tmp_path: Path, target: str) -> None:
    said = f"      upstream: {target}\n      upstream_ca: ca.pem"
    text = FULL.replace("      upstream: http://127.0.0.1:9000/mcp", said)
    assert "'upstream_ca' is for an upstream of https://" in complaint(tmp_path, text)


ONE_ADDRESS = "      address: bank.b.test:8443"


def with_addresses(*addresses: str) -> str:
    assert ONE_ADDRESS in FULL
    return FULL.replace(ONE_ADDRESS, f"      address: [{', '.join(addresses)}]")


def test_a_server_may_have_several_addresses_in_an_order(tmp_path: Path) -> None:
    egress = read(tmp_path, with_addresses("b:2", "a:1")).egress
    assert egress is not None
    assert egress.servers[0].addresses == (Address("b", 2), Address("a", 1))


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ((), "'address' is empty; expected host:port"),
        (("a:1", "b"), "address[1]: expected host:port, found 'b'"),
        (("a:1", "a:1"), "an address stands here twice"),
        (tuple(f"a:{port}" for port in range(1, 18)), "more than 16 addresses"),
    ],
)
def test_a_list_of_addresses_says_something(tmp_path: Path, addresses: tuple[str, ...], said: str) -> None:
    assert said in complaint(tmp_path, with_addresses(*addresses))
