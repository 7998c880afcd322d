"""What an agent counts of real handshakes and real calls, on both sides."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.admin import Admin, with_admin
from tests.fakes.mcp_client import Hop, Plain, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, SERVER, STRANGER, Site, provider_at, running_agent


async def test_handshakes_calls_and_refusals(folder: Path) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        config = with_admin(site.ingress_config(provider.address, server.url))
        ingress = await stack.enter_async_context(running_agent(config))
        config = with_admin(site.egress_config(provider.address, str(ingress.ingress)))
        egress = await stack.enter_async_context(running_agent(config))
        assert isinstance(egress.egress, Address)
        assert isinstance(ingress.ingress, Address)
        client = Plain(egress.egress)
        stack.callback(client.close)
        assert (await client.ask(call("echo", text="hi"))).text == "hi"
        await client.ask(call("pay", text="hi"))  # refused by policy
        svids = {entry.spiffe_id: svid for entry, svid in provider.issued.svids.items()}
        stranger = Hop(ingress.ingress, svids[STRANGER], provider.issued.bundles, SERVER)
        with pytest.raises(Refused):
            await stranger.ask(call("echo", text="hi"))

        inner = await Admin(f"http://{ingress.admin}").metrics()
        outer = await Admin(f"http://{egress.admin}").metrics()
    assert inner['spiffe_mcp_handshakes_total{result="completed",side="ingress"}'] == 1
    assert inner['spiffe_mcp_handshakes_total{result="refused",side="ingress"}'] == 1
    refused = 'spiffe_mcp_handshake_refusals_total{reason="identity.id_not_authorized",side="ingress"}'
    assert inner[refused] == 1
    assert inner['spiffe_mcp_exchanges_total{outcome="completed",side="ingress"}'] == 1
    assert inner['spiffe_mcp_exchange_refusals_total{reason="policy.denied",side="ingress"}'] == 1
    assert inner["spiffe_mcp_connections"] == 1
    assert inner['spiffe_mcp_tls_resumptions_total{side="ingress"}'] == 0
    assert inner['spiffe_mcp_bundle_authorities{trust_domain="mesh.test"}'] == 1
    assert outer['spiffe_mcp_handshakes_total{result="completed",side="egress"}'] == 1
    assert outer['spiffe_mcp_handshakes_total{result="completed",side="ingress"}'] == 0
