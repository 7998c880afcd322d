"""Several ingresses of one agent share its process and its log; each has its own address and peers."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Hop, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, REVIEWER, SERVER, Log, Site, provider_at


async def test_a_peer_of_one_ingress_is_nobody_at_the_other(folder: Path) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        servers = [await stack.enter_async_context(serving_mcp(LIVE)) for _ in range(2)]
        config = site.ingress_config(provider.address, servers[0].url)
        document = yaml.safe_load(config.read_text())
        first = {**document["ingress"], "peers": [str(PLANNER)]}
        upstream = {**first["servers"][0], "upstream": servers[1].url}
        document["ingress"] = [first, {**first, "peers": [str(REVIEWER)], "servers": [upstream]}]
        config.write_text(json.dumps(document))  # which is YAML, and has no aliases
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        announced = await (await stack.enter_async_context(running)).ready()
        addresses = [Address.parse(address) for address in announced["ingress"]]
        assert len(set(addresses)) == 2

        issued = provider.issued

        def hop(address: Address, identity: SpiffeId) -> Hop:
            [svid] = [svid for entry, svid in issued.svids.items() if entry.spiffe_id == identity]
            return Hop(address, svid, issued.bundles, SERVER)

        for address, server, peer, other in zip(
            addresses, servers, (PLANNER, REVIEWER), (REVIEWER, PLANNER), strict=True
        ):
            client = hop(address, peer)
            request = call("echo", text=str(peer))
            assert (await client.ask(client.signed(request))).text == str(peer)
            assert [message["params"]["arguments"]["text"] for message in server.called] == [str(peer)]
            stranger = hop(address, other)
            with pytest.raises(Refused):
                await stranger.ask(stranger.signed(request))
    refused = [record for record in Log(folder / "ingress.jsonl").records() if record["decision"] == "refuse"]
    assert [record["reason"] for record in refused] == [Reason.ID_NOT_AUTHORIZED.code] * 2
