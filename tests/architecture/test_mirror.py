"""Every module has a test file of its own, where one would look for it, or stands here with the reason."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "spiffe_mcp", ROOT / "tests"

# This list may only become shorter.
EXCEPTIONS = {
    "__main__.py": "three lines; tests/unit/cli/test_main.py starts it",
    "agent/agent.py": "wiring; run by every scenario in tests/integration",
    "agent/registries.py": "wiring; tests/integration/test_authorization_is_reloaded.py",
    "agent/sides.py": "wiring; run by every scenario in tests/integration",
    "agent/readiness.py": "seen through a running agent: tests/integration/test_readiness.py",
    "cli/agent.py": "wiring; tests/unit/cli/test_main.py and tests/integration start it",
    "cli/connect.py": "a command: tests/integration/test_a_command_joins_the_mesh.py starts it",
    "cli/demo.py": "wiring; the demo proves itself and says so by its exit code",
    "cli/dev.py": "wiring; tests/integration/test_the_demo_proves_itself.py starts it",
    "cli/provider.py": "wiring; tests/integration/test_providers_federate_as_processes.py starts it",
    "dev/bundle_client.py": "needs sockets: tests/integration/test_bundles_are_fetched.py",
    "dev/bundle_endpoint.py": "needs sockets: tests/integration/test_bundles_are_served.py",
    "dev/federator.py": "needs sockets: tests/integration/test_bundles_are_fetched.py",
    "cli/doctor.py": "a command: tests/integration/test_the_doctor.py runs it",
    "dev/demo.py": "wiring of the demo",
    "dev/demo_server.py": "the demo's MCP server, of the official SDK",
    "dev/provider.py": "needs a socket: tests/integration/test_embedded_provider.py",
    "dev/workload_api.py": "needs a socket: tests/integration/test_embedded_provider.py",
    "doctor/diagnosis.py": "the order of the others: tests/integration/test_the_doctor.py",
    "http/flow.py": "seen from outside only: tests/unit/http/test_server.py",
    "http/messages.py": "seen on the wire: tests/unit/http/test_server.py, tests/unit/http/test_client.py",
    "http/reply.py": "seen on the wire: tests/unit/http/test_server.py",
    "identity/sources/events.py": "data only",
    "identity/sources/proto/broker_pb2.py": "generated: tests/unit/identity/sources/test_protos.py",
    "identity/sources/proto/delegated_identity_pb2.py": "generated, as its neighbour",
    "identity/sources/proto/workload_pb2.py": "generated, as its neighbours",
    "identity/sources/source.py": "a protocol, without code of its own",
    "mesh/behind.py": "data only",
    "mesh/declined.py": "data only",
    "mesh/egress_listener.py": "needs sockets: tests/integration",
    "mesh/exchange.py": "data only",
    "mesh/ingress_listener.py": "needs sockets: tests/integration",
    "mesh/observer.py": "a protocol, without code of its own",
    "mesh/stdio/launch.py": "starts processes: tests/unit/mesh/stdio/test_process.py",
    "mesh/stdio/server.py": "seen over HTTP: tests/unit/mesh/stdio/test_bridge.py",
    "mesh/stdio/serving.py": "seen over HTTP: tests/unit/mesh/stdio/test_bridge.py",
    "mesh/upstream/inspection.py": "seen by the server: tests/unit/mesh/upstream/test_server.py",
    "policy/engine.py": "a protocol, without code of its own",
    "policy/tokens.py": "seen through what is read off a policy: tests/unit/policy/test_source.py",
}
# Test files about what several modules do together.
TOGETHER = {
    "unit/http/test_over_tls.py": "HTTP inside TLS",
    "unit/identity/sources/test_protos.py": "the generated code, all of it",
}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def homes(module: Path) -> list[Path]:
    """Where the tests of a module may be: in its mirror, or among the exchanges without sockets."""
    places = [TESTS / "unit" / module.parent]
    if module.parent.name == "mesh":
        places.append(TESTS / "exchange")
    return [place / f"test_{module.name}" for place in places]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_test_file_or_a_reason_for_none(module: Path) -> None:
    has_one = any(file.exists() for file in homes(module))
    excepted = module.as_posix() in EXCEPTIONS
    assert has_one or excepted, f"write {homes(module)[0].relative_to(ROOT)}"
    assert not (has_one and excepted), "it has one now: take it off the list"


def test_no_exception_is_for_a_module_that_is_gone() -> None:
    assert EXCEPTIONS.keys() <= {module.as_posix() for module in MODULES}


def test_no_test_file_is_for_a_module_that_is_gone() -> None:
    mirrored = {file for module in MODULES for file in homes(module)}
    others = {file for file in (TESTS / "unit").rglob("test_*.py") if file not in mirrored}
    assert {file.relative_to(TESTS).as_posix() for file in others} == TOGETHER.keys()
