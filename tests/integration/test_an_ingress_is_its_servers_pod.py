"""An ingress that stands before a pod shows the pod's SVID, for as long as there is such a pod and no longer.

The agent is a whole one, from its configuration file; the broker behaves as SPIRE's did in a real cluster.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import BundleSet
from spiffe_mcp.identity.sources.reference import KubernetesReference
from spiffe_mcp.identity.update import Update
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.broker import FakeBroker, svid_of
from tests.fakes.drill import held_open
from tests.fakes.mcp_client import Hop, call, now
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, SERVER, TRUST_DOMAIN, Site, running_agent
from tests.fakes.mini_ca import MiniCa, Presented
from tests.fakes.node import MESH_AGENT, broker_identity, ingress_config
from tests.fakes.raw_tls import RawTls
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

UID: Final = "2c48913c-b29f-11e7-9350-020968147796"
BY_NAME: Final = ({"namespace": "tools", "name": "desk-0"}, KubernetesReference("", "tools", "desk-0"))
BY_UID: Final = ({"uid": UID}, KubernetesReference(UID))
GONE_WITHIN_SECONDS: Final = 10  # what is asked for
PATIENCE: Final = 30.0  # seconds for one event; only a failure takes so long
pods = pytest.mark.parametrize(("pod", "reference"), [BY_NAME, BY_UID], ids=["by name", "by uid"])


@dataclass
class Served:
    """An ingress before a pod, and the broker that its agent asks for the pod."""

    ca: MiniCa
    broker: FakeBroker
    pod: KubernetesReference
    ingress: Address

    def give(self) -> bytes:
        """An instance of the pod has this SVID from now on; its leaf."""
        part = svid_of(self.ca, SERVER)
        self.broker.offer(self.pod, Update((part,)))
        return part.chain

    def hop(self) -> Hop:
        """A peer that is let in, and that wants `SERVER` at the other end."""
        bundles = BundleSet.from_der({str(TRUST_DOMAIN): self.ca.bundle_der})
        return Hop(self.ingress, self.ca.issue(PLANNER.path), bundles, SERVER)

    async def said(self, text: str) -> str:
        """What the MCP server answers to a call by a connection of its own."""
        hop = self.hop()
        return (await hop.ask(hop.signed(call("echo", text=text)))).text

    async def shown(self) -> bytes:
        """The leaf that the ingress shows to whoever connects; empty if it talks to nobody."""
        try:
            peer = await RawTls.connect(self.ingress.host, self.ingress.port, Presented((), b""))
        except (ConnectionError, EOFError):
            return b""
        peer.abort()
        return peer.peer_chain[0]

    async def shows(self, leaf: bytes) -> None:
        """Wait until it does."""
        async with asyncio.timeout(PATIENCE):
            while await self.shown() != leaf:
                pass


@asynccontextmanager
async def serving(
    folder: Path, pod: Mapping[str, Any], reference: KubernetesReference
) -> AsyncIterator[Served]:
    ca, site = MiniCa(str(TRUST_DOMAIN), now=now()), Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(FakeWorkloadApi(folder / "api.sock"))
        api.push(message([svid_part(ca, MESH_AGENT.path)]))
        broker = await stack.enter_async_context(FakeBroker(folder / "broker.sock", ca))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        identity = broker_identity(api.address, broker.address) | {"reference": "kubernetes"}
        config = ingress_config(site, identity, server.url, {"pod": pod})
        agent = await stack.enter_async_context(running_agent(config))
        assert isinstance(agent.ingress, Address)
        yield Served(ca, broker, reference, agent.ingress)


@pods
async def test_it_is_nobody_until_there_is_the_pod_and_then_it_is_the_pod(
    folder: Path, pod: Mapping[str, Any], reference: KubernetesReference
) -> None:
    async with serving(folder, pod, reference) as it:
        await it.broker.of(reference).until_opened(1)
        assert await it.shown() == b""
        with pytest.raises((Refused, ConnectionError)):
            await it.said("to nobody")
        leaf = it.give()
        await it.shows(leaf)
        assert await it.said("to the pod") == "to the pod"
        assert set(it.broker.callers) == {str(MESH_AGENT)}


@pods
@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_pod_that_is_deleted_and_a_right_that_is_taken_back_close_it_though_the_stream_lives_on(
    folder: Path, pod: Mapping[str, Any], reference: KubernetesReference, code: grpc.StatusCode
) -> None:
    async with serving(folder, pod, reference) as it:
        first = it.give()
        await it.shows(first)
        async with held_open(it.ingress, it.ca.issue(PLANNER.path)) as live:
            it.broker.of(reference).turn_away(code)
            async with asyncio.timeout(GONE_WITHIN_SECONDS):
                await live.cut()
                await it.shows(b"")
        with pytest.raises((Refused, ConnectionError)):
            await it.said("to a pod that is gone")
        it.broker.of(reference).admit()
        second = it.give()  # the next instance; by UID, the right is given back
        assert second != first
        await it.shows(second)
        assert await it.said("to the next") == "to the next"
