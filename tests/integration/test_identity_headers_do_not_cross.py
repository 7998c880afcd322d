"""What a workload says of identities goes nowhere: not on the hop, not to the MCP server."""

from typing import Final

import pytest

from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import values
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mcp_client import Plain, call, with_header, without_header
from tests.fakes.mesh import PLANNER, Mesh, recording_ingress, running_agent

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAIMS: Final = {
    "authorization": "Bearer secret",
    "cookie": "session=secret",
    "forwarded": "for=10.0.0.1",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-user": "root",
    "x-forwarded-client-cert": "URI=spiffe://mesh.test/root",
    "l5d-client-id": "root.mesh.test",
    "mesh-user-context": "forged",
    "mesh_user_context": "forged",
    "mesh-anything": "forged",
    "x-spiffe-id": "spiffe://mesh.test/root",
    "proxy-authorization": "Basic secret",
}
PASSED: Final = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def boasting() -> Request:
    request = call("echo", text="who am I?")
    for name, value in {**CLAIMS, **PASSED}.items():
        request = with_header(request, name, value)
    return request


def check_arrived(request: Request) -> None:
    for name in CLAIMS.keys() - {"mesh-user-context"}:
        assert values(request.headers, name.encode()) == (), name
    for name, value in PASSED.items():
        assert values(request.headers, name.encode()) == (value.encode(),)
    assert request.body == boasting().body


async def test_they_do_not_reach_the_mcp_server(mesh: Mesh) -> None:
    assert (await mesh.planner.ask(boasting())).text == "who am I?"
    arrived = mesh.server.requests[-1]
    check_arrived(arrived)
    assert values(arrived.headers, b"mesh-user-context") == (), "it is for the ingress alone"
    assert values(arrived.headers, b"host") == (f"127.0.0.1:{mesh.server.port}".encode(),)


async def test_they_do_not_reach_the_hop(mesh: Mesh) -> None:
    """There the one context is the agent's own, whatever the workload sent under that name."""
    async with recording_ingress(mesh) as ingress:
        address = f"127.0.0.1:{ingress.port}"
        config = mesh.site.egress_config(mesh.provider.address, address, PLANNER, log="elsewhere")
        async with running_agent(config) as egress:
            assert isinstance(egress.egress, Address)
            client = Plain(egress.egress)
            assert (await client.ask(boasting())).text == "who am I?"
            client.close()
    (arrived,) = ingress.requests
    check_arrived(arrived)
    (context,) = values(arrived.headers, b"mesh-user-context")
    assert context != b"forged"
    assert context.count(b".") == 2


async def test_they_do_not_reach_the_mcp_server_from_a_hostile_agent(mesh: Mesh) -> None:
    hop = mesh.hop()
    assert (await hop.ask(hop.signed(boasting_without_context()))).text == "who am I?"
    arrived = mesh.server.requests[-1]
    check_arrived(arrived)
    assert values(arrived.headers, b"mesh-user-context") == ()


def boasting_without_context() -> Request:
    return without_header(boasting(), "mesh-user-context")
