"""A forced rotation of SPIRE's authority, under traffic through an agent that serves a node's workloads."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.fakes.drill import PATIENCE, Traffic
from tests.fakes.mcp_client import call, now
from tests.fakes.mesh import PLANNER, REVIEWER, TRUST_DOMAIN
from tests.fakes.mini_ca import Presented
from tests.fakes.node import PLANNERS, REVIEWERS, Node, SpireServer, needs_root, running_node, spire_world
from tests.fakes.raw_tls import RawTls

pytestmark = needs_root

_AUTHORITIES = f'spiffe_mcp_bundle_authorities{{trust_domain="{TRUST_DOMAIN}"}}'


@asynccontextmanager
async def traffic(node: Node) -> AsyncIterator[Traffic]:
    """Calls of both users without a pause, until the block ends."""
    calls = Traffic()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        running = []
        for uid in (PLANNERS, REVIEWERS):
            client = await stack.enter_async_context(node.client(uid))
            assert (await client.ask(call("echo", text="first"))).text == "first"
            running.append(tasks.create_task(calls.work(client, f"from {uid}")))
        yield calls
        for task in running:
            task.cancel()


async def issuer(node: Node) -> bytes:
    """Whose key has signed what the ingress shows."""
    peer = await RawTls.connect(node.ingress.host, node.ingress.port, Presented((), b""))
    peer.abort()
    leaf = x509.load_der_x509_certificate(peer.peer_chain[0])
    signer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert signer is not None
    return signer


async def expiries(node: Node) -> list[float]:
    """When the SVID of each user that calls expires, by the clock of this machine."""
    metrics = await node.admin.metrics()
    return [
        now().timestamp() + metrics[f'spiffe_mcp_svid_expiry_seconds{{spiffe_id="{one}"}}']
        for one in (PLANNER, REVIEWER)
    ]


async def bundle_has(node: Node, number: int) -> None:
    """Wait until every identity that the egress holds trusts so many authorities."""
    async with asyncio.timeout(PATIENCE):
        while (await node.admin.metrics())[_AUTHORITIES] != number:
            pass


async def renewed(node: Node, former: bytes, before: list[float]) -> None:
    """Wait until nobody uses an SVID of the former authority any more."""
    async with asyncio.timeout(PATIENCE):
        while await issuer(node) == former:
            pass
        while min((now - then for now, then in zip(await expiries(node), before, strict=True))) < 0.5:
            pass


@asynccontextmanager
async def a_node_at_work(folder: Path, source: str) -> AsyncIterator[tuple[SpireServer, Node, Traffic]]:
    """Both users call, and have SVIDs of the only authority there is."""
    os.chmod(folder, 0o755)  # noqa: PTH101, S103  everybody may pass through
    async with (
        spire_world(folder, source) as world,
        running_node(folder, world) as node,
        traffic(node) as calls,
    ):
        yield world.server, node, calls


by_either = pytest.mark.parametrize("source", ["broker", "delegated"])


@by_either
async def test_no_call_of_any_workload_fails_while_spire_moves_to_another_authority(
    folder: Path, source: str
) -> None:
    async with a_node_at_work(folder, source) as (spire, node, calls):
        former, before = await issuer(node), await expiries(node)
        old = (await spire.authorities())["active"]["authority_id"]

        prepared = await spire.prepare_authority()
        await bundle_has(node, 2)
        await calls.more(20)

        await spire.authority("activate", prepared)
        await spire.authority("taint", old)  # makes SPIRE's agent renew what it signed
        await renewed(node, former, before)
        await calls.more(50)
        assert calls.failed == []

        await spire.authority("revoke", old)
        await bundle_has(node, 1)
        await calls.more(50)
        calls.none_but_cut()


@by_either
async def test_no_call_of_any_workload_fails_when_the_bundle_changes_while_svids_are_replaced(
    folder: Path, source: str
) -> None:
    """Then SPIRE may tell a workload of the bundle and have no SVID for it at that moment: an empty list."""
    async with a_node_at_work(folder, source) as (spire, node, calls):
        former, before = await issuer(node), await expiries(node)
        old = (await spire.authorities())["active"]["authority_id"]
        prepared = await spire.prepare_authority()
        await bundle_has(node, 2)

        await spire.authority("activate", prepared)
        await spire.authority("taint", old)
        await spire.prepare_authority()
        await bundle_has(node, 3)
        await renewed(node, former, before)
        await calls.more(50)
        assert calls.failed == []
