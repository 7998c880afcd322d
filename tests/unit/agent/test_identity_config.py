"""Whose identities an agent has: every way to say it, and what is said of every way to say it wrong."""

from pathlib import Path

import pytest

from spiffe_mcp.agent.identity_config import (
    BrokerConfig,
    DelegatedConfig,
    PidFile,
    PodNamed,
    PodWithUid,
    ReferenceKind,
)
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId
from spiffe_mcp.identity.wanted import ByHint
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.configuration import complaint, read

UID = "2c48913c-b29f-11e7-9350-020968147796"
BROKER = """\
identity:
  source: broker
  socket: unix:///run/spire/agent.sock
  hint: mesh
  reference: kubernetes
  broker:
    socket: unix:///run/spire/broker/broker.sock
    server: spiffe://a.test/spire/agent/**
"""
DELEGATED = """\
identity:
  source: delegated
  socket: unix:///run/spire/agent.sock
  delegated:
    socket: unix:///run/spire/admin/admin.sock
"""
SIDECAR = """\
identity:
  socket: unix:///run/spire/agent.sock
  spiffe_id: spiffe://a.test/mesh-agent
"""
EGRESS = """\
egress:
  listen: unix:/run/mesh/egress.sock
  user:
    sub: alice
    sub_iss: https://idp.a.test
  servers:
    - name: weather
      spiffe_id: spiffe://a.test/mcp/weather
      address: 127.0.0.1:8443
"""
INGRESS = """\
ingress:
  listen: 127.0.0.1:0
  spiffe_id: spiffe://a.test/mcp/weather
  workload:
    pid_file: weather.pid
  servers:
    - name: weather
      upstream: http://127.0.0.1:9000/mcp
      manifest: m.json
  trust_policy: t.json
"""
AUDIT = """\
audit:
  file: audit.jsonl
"""
NODE = BROKER + EGRESS + INGRESS + AUDIT


# -- whose identities ---------------------------------------------------------------------------------------


def test_a_node_by_the_broker(tmp_path: Path) -> None:
    config = read(tmp_path, NODE)
    server = AllowedIds((IdPattern.parse("spiffe://a.test/spire/agent/**"),))
    assert config.identity.workloads == BrokerConfig(
        "unix:///run/spire/broker/broker.sock", server, ReferenceKind.KUBERNETES
    )
    assert config.identity.wanted == ByHint("mesh")


def test_processes_are_what_a_broker_is_asked_for_unless_told(tmp_path: Path) -> None:
    workloads = read(tmp_path, NODE.replace("  reference: kubernetes\n", "")).identity.workloads
    assert workloads is not None
    assert workloads.reference is ReferenceKind.PID


def test_a_node_by_the_delegated_api(tmp_path: Path) -> None:
    config = read(tmp_path, DELEGATED + EGRESS + AUDIT)
    assert config.identity.workloads == DelegatedConfig("unix:///run/spire/admin/admin.sock")
    assert config.identity.workloads.reference is ReferenceKind.PID


def test_a_sidecar_has_no_identity_but_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, SIDECAR + EGRESS + AUDIT).identity.workloads is None


# -- who may connect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("identity", "mode"), [(SIDECAR, 0o600), (BROKER, 0o666), (DELEGATED, 0o666)])
def test_on_a_node_everybody_may_connect_and_beside_one_workload_its_user(
    tmp_path: Path, identity: str, mode: int
) -> None:
    egress = read(tmp_path, identity + EGRESS + AUDIT).egress
    assert egress is not None
    assert egress.mode == mode


@pytest.mark.parametrize(
    ("text", "mode"), [("0660", 0o660), ("660", 0o660), ('"0600"', 0o600), ("0606", 0o606)]
)
def test_who_may_connect_can_be_narrowed(tmp_path: Path, text: str, mode: int) -> None:
    text = BROKER + EGRESS.replace("  user:", f"  mode: {text}\n  user:") + AUDIT
    egress = read(tmp_path, text).egress
    assert egress is not None
    assert egress.mode == mode


@pytest.mark.parametrize(
    "mode", ["0066", "0400", "0200", "0777", "1666", "438", "0o666", "rw", "-600", "0668", "\u0660660"]
)
def test_a_mode_is_one_of_a_socket_that_its_owner_can_use(tmp_path: Path, mode: str) -> None:
    text = BROKER + EGRESS.replace("  user:", f"  mode: {mode}\n  user:") + AUDIT
    assert "egress.mode: expected an octal mode of a socket" in complaint(tmp_path, text)


def test_a_tcp_port_has_no_mode(tmp_path: Path) -> None:
    text = EGRESS.replace("unix:/run/mesh/egress.sock", "127.0.0.1:0").replace(
        "  user:", "  mode: 0600\n  user:"
    )
    assert "'mode' is for a Unix socket" in complaint(tmp_path, SIDECAR + text + AUDIT)


@pytest.mark.parametrize("identity", [BROKER, DELEGATED])
@pytest.mark.parametrize("listen", ["127.0.0.1:7070", '"[::1]:7070"', "10.0.0.1:7070", "localhost:0"])
def test_on_a_node_nobody_calls_over_tcp(tmp_path: Path, identity: str, listen: str) -> None:
    """The kernel does not say which process is at the other end, so whoever connects would be anybody."""
    text = identity + EGRESS.replace("unix:/run/mesh/egress.sock", listen) + AUDIT
    said = complaint(tmp_path, text)
    line = text[: text.index("  listen")].count("\n") + 1
    assert said.startswith(
        f"agent.yaml:{line}: egress.listen: expected unix:/path, for local callers are attested"
    )


# -- whose identity an ingress has --------------------------------------------------------------------------


def test_a_server_by_its_pid_file(tmp_path: Path) -> None:
    [ingress] = read(tmp_path, NODE).ingresses
    assert ingress.identity == SpiffeId.parse("spiffe://a.test/mcp/weather")
    assert ingress.workload == PidFile(tmp_path / "weather.pid")


@pytest.mark.parametrize(
    ("pod", "named"),
    [
        (f"uid: {UID}", PodWithUid(UID)),
        ("{namespace: tools, name: weather-0}", PodNamed("tools", "weather-0")),
    ],
)
def test_a_server_by_its_pod(tmp_path: Path, pod: str, named: PodWithUid | PodNamed) -> None:
    pod = pod if pod.startswith("{") else f"{{{pod}}}"
    [ingress] = read(tmp_path, NODE.replace("pid_file: weather.pid", f"pod: {pod}")).ingresses
    assert ingress.workload == named


def test_several_ingresses_each_with_its_own_identity(tmp_path: Path) -> None:
    """One with the agent's own, one with that of a server's workload."""
    plain = INGRESS.replace(
        "  spiffe_id: spiffe://a.test/mcp/weather\n  workload:\n    pid_file: weather.pid\n", ""
    )
    listed = "ingress:\n" + "".join(
        f"  - {body.lstrip()}"
        for body in (_indented(INGRESS), _indented(plain.replace("127.0.0.1:0", "127.0.0.1:1")))
    )
    first, second = read(
        tmp_path, BROKER.replace("hint: mesh", "spiffe_id: spiffe://a.test/own") + listed + AUDIT
    ).ingresses
    assert (first.listen, second.listen) == (Address("127.0.0.1", 0), Address("127.0.0.1", 1))
    assert first.workload == PidFile(tmp_path / "weather.pid")
    assert (second.identity, second.workload) == (SpiffeId.parse("spiffe://a.test/own"), None)


def _indented(section: str) -> str:
    return "".join(f"  {line}\n" for line in section.splitlines()[1:])


def test_a_mistake_in_one_of_several_ingresses_is_named_by_its_place(tmp_path: Path) -> None:
    listed = "ingress:\n" + f"  - {_indented(INGRESS).lstrip()}" * 2
    text = (
        BROKER
        + listed.replace("127.0.0.1:0", "127.0.0.1", 2).replace("127.0.0.1\n", "127.0.0.1:0\n", 1)
        + AUDIT
    )
    assert "ingress[1].listen: expected host:port" in complaint(tmp_path, text)


# -- complaints: a change to NODE, and what is said ---------------------------------------------------------

RULES: dict[str, tuple[str, str, str]] = {
    "no such source": (
        "source: broker",
        "source: sds",
        "identity.source: expected 'workload-api', 'broker' or 'delegated', found 'sds'",
    ),
    "a broker that is not named": (
        BROKER[BROKER.index("  broker:") :],
        "",
        "'source: broker' needs a section 'broker'",
    ),
    "another source's section": (
        "source: broker",
        "source: delegated",
        "a section 'broker' needs 'source: broker'",
    ),
    "a section too many": ("  source: broker\n", "", "a section 'broker' needs 'source: broker'"),
    "two sections": (
        "  broker:\n",
        "  delegated:\n    socket: unix:///x\n  broker:\n",
        "a section 'delegated' needs 'source: delegated'",
    ),
    "no such reference": (
        "reference: kubernetes",
        "reference: uid",
        "identity.reference: expected 'pid' or 'kubernetes', found 'uid'",
    ),
    "a broker anywhere": (
        "unix:///run/spire/broker/broker.sock",
        "tcp://10.0.0.1:1",
        "identity.broker.socket: expected unix:///",
    ),
    "a broker that may be anybody": (
        "server: spiffe://a.test/spire/agent/**",
        "server: '*'",
        "identity.broker.server: expected a SPIFFE ID",
    ),
    "a broker without an ID": (
        "    server: spiffe://a.test/spire/agent/**\n",
        "",
        "identity.broker: 'server' is missing",
    ),
    "an unknown key": ("    server:", "    servr: x\n    server:", "identity.broker.servr: unknown key"),
    "a workload without an ID": (
        "  spiffe_id: spiffe://a.test/mcp/weather\n  workload",
        "  workload",
        "ingress: needs 'spiffe_id'",
    ),
    "an ID without a workload": (
        "  workload:\n    pid_file: weather.pid\n",
        "",
        "ingress: 'spiffe_id' needs 'workload'; the agent's own is 'identity.spiffe_id'",
    ),
    "no workload": ("    pid_file: weather.pid", "    pod:", "ingress.workload.pod: expected a mapping"),
    "an empty workload": (
        "    pid_file: weather.pid",
        "    {}",
        "ingress.workload: one of 'pid_file' and 'pod' has to name",
    ),
    "two workloads": (
        "    pid_file: weather.pid",
        f"    pid_file: weather.pid\n    pod: {{uid: {UID}}}",
        "ingress.workload: one of 'pid_file' and 'pod' has to name",
    ),
    "half a pod": (
        "pid_file: weather.pid",
        "pod: {name: x}",
        "ingress.workload.pod: a pod is named by 'uid', or by",
    ),
    "a pod and a half": (
        "pid_file: weather.pid",
        f"pod: {{uid: {UID}, name: x, namespace: y}}",
        "ingress.workload.pod: a pod is named by 'uid', or by",
    ),
    "a name that no pod has": (
        "pid_file: weather.pid",
        "pod: {namespace: tools, name: ../etc}",
        "ingress.workload.pod: 'namespace' and 'name' have to be names that Kubernetes gives",
    ),
    "a UID that is none": (
        "pid_file: weather.pid",
        "pod: {uid: weather-0}",
        "ingress.workload.pod.uid: expected the UID of a pod",
    ),
    "a pod where processes are asked for": (
        "  reference: kubernetes\n",
        "",
        "ingress.workload: 'pod' needs 'reference: kubernetes'",
    ),
    "an ingress that is a text": (INGRESS, "ingress: weather\n", "ingress: expected a list"),
}


@pytest.mark.parametrize(("right", "wrong", "said"), RULES.values(), ids=RULES)
def test_a_mistake_is_refused(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = NODE
    if said.endswith("'reference: kubernetes'"):
        text = text.replace("pid_file: weather.pid", f"pod: {{uid: {UID}}}")
    assert text.count(right) == 1
    assert said in complaint(tmp_path, text.replace(right, wrong))


@pytest.mark.parametrize("reference", ["pid", "kubernetes"])
@pytest.mark.parametrize("identity", [DELEGATED, SIDECAR])
def test_only_a_broker_leaves_a_choice_of_references(tmp_path: Path, identity: str, reference: str) -> None:
    text = identity + f"  reference: {reference}\n" + EGRESS + AUDIT
    assert "'reference' needs 'source: broker'" in complaint(tmp_path, text)


def test_a_sidecar_serves_no_workload_but_its_own(tmp_path: Path) -> None:
    assert "ingress.workload: needs 'source: broker' or 'source: delegated'" in complaint(
        tmp_path, SIDECAR + INGRESS + AUDIT
    )


def test_one_svid_is_said_in_one_way(tmp_path: Path) -> None:
    text = NODE.replace("  hint: mesh\n", "  hint: mesh\n  spiffe_id: spiffe://a.test/own\n")
    assert "'spiffe_id' and 'hint' both say which SVID to use; keep one" in complaint(tmp_path, text)
