"""Two trust domains in the test's event loop: a.test calls, b.test serves, each with a provider of its own.

    async with running_federated_mesh(folder) as mesh:      # each follows the other's bundle endpoint
        answer = await mesh.client.ask(call("echo", text="hi"))     # from a.test to b.test, by two agents
        mesh.b.defederate(A)                            # b.test trusts nobody in a.test any more
        mesh.hop(forged(mesh.a, LOCAL))                 # straight to the ingress, as somebody of b.test

The endpoints are reached through a relay each, so that a test can take one away.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from spiffe_mcp.dev.federation import (
    BundleEndpoint,
    EndpointUrl,
    FederatesWith,
    Federation,
    HttpsSpiffe,
    ShowsSvid,
)
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.identity import SpiffeId, TrustDomain, X509Svid
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mcp_client import Hop, Plain, now
from tests.fakes.mcp_server import RecordingServer, serving_mcp
from tests.fakes.mesh import LIVE, Log, Site, running_agent
from tests.fakes.mini_ca import Authority, MiniCa

A, B = TrustDomain("a.test"), TrustDomain("b.test")
PLANNER: Final = SpiffeId(A, "/ai-agent/planner")  # calls
DESK: Final = SpiffeId(B, "/mcp/desk")  # serves
LOCAL: Final = SpiffeId(B, "/ai-agent/local")  # a caller of the server's own trust domain
PROBE: Final = SpiffeId(B, "/mcp/probe")  # another server that the planner may call


@dataclass
class Relay:
    """A way to one address, that can be closed and opened again."""

    target: Address
    port: int = 0
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Let connections through, on the port that it had before."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Nobody is there any more."""
        assert self._server is not None
        self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.target.host, self.target.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, back))
                both.create_task(_pump(there, writer))
        finally:
            writer.transport.abort()
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.close()


@dataclass(kw_only=True)
class FederatedMesh:
    """Both trust domains, up. `client` is a workload of a.test."""

    folder: Path
    a: Provider
    b: Provider
    relays: dict[TrustDomain, Relay]
    server: RecordingServer
    ingress: Address
    client: Plain
    site: Site

    def log(self, side: str) -> Log:
        """The log of `ingress` or `planner`."""
        return Log(self.folder / f"{side}.jsonl")

    def with_(self, trust_domain: TrustDomain) -> FederatesWith:
        """What the other side needs in order to federate with `trust_domain`."""
        return relationship(self.folder, trust_domain, self.relays[trust_domain])

    def hop(self, svid: X509Svid) -> Hop:
        """A client at the ingress that shows `svid` and believes the real server."""
        return Hop(self.ingress, svid, self.b.issued.bundles, DESK)

    async def know_each_other(self) -> None:
        """Until each provider has exactly the bundle that the other one stands for now."""
        for us, them in ((self.a, self.b), (self.b, self.a)):
            wanted = them.issued.own
            us.refresh()
            await us.until(lambda issued, wanted=wanted: issued.foreign.get(wanted.trust_domain) == wanted)  # type: ignore[misc]  # a default binds it


def svid_of(provider: Provider, identity: SpiffeId) -> X509Svid:
    """The SVID that `provider` has issued to `identity`."""
    return next(svid for entry, svid in provider.issued.svids.items() if entry.spiffe_id == identity)


def authority_of(provider: Provider) -> MiniCa:
    """The provider's own signing authority, in the hands of somebody who signs what it never would."""
    signing = provider.issued.authorities.signing
    return MiniCa(str(signing.trust_domain), now(), Authority(signing.key, signing.certificate))


def forged(provider: Provider, identity: SpiffeId) -> X509Svid:
    """`identity`, signed by `provider`'s authority, whosever name it is."""
    return authority_of(provider).issue(uris=(str(identity),))


def relationship(folder: Path, trust_domain: TrustDomain, relay: Relay) -> FederatesWith:
    url = EndpointUrl.parse(f"https://127.0.0.1:{relay.port}/")
    profile = HttpsSpiffe(ShowsSvid.of(trust_domain).endpoint_id, folder / f"{trust_domain}.json")
    return FederatesWith(trust_domain, url, profile)


def provider_of(folder: Path, trust_domain: TrustDomain, *entries: Entry) -> Provider:
    """A provider with a bundle endpoint, which federates with nobody yet."""
    endpoint = BundleEndpoint(Address("127.0.0.1", 0), ShowsSvid.of(trust_domain))
    path = folder / f"{trust_domain}.sock"
    return Provider(trust_domain, path, entries, clock=now, federation=Federation(endpoint=endpoint))


@asynccontextmanager
async def running_federated_mesh(folder: Path, probe: Address | None = None) -> AsyncIterator[FederatedMesh]:
    """Both sides, which trust each other. `probe` is where `PROBE` serves, if it is to be called."""
    me, towards_a, towards_b = os.getuid(), frozenset({A}), frozenset({B})
    async with AsyncExitStack() as stack:
        a = provider_of(folder, A, Entry(PLANNER, me, federates_with=towards_b))
        b = provider_of(folder, B, Entry(DESK, me, federates_with=towards_a), Entry(LOCAL, me))
        relays = {}
        for provider in (a, b):
            await stack.enter_async_context(provider)
            address, own = provider.bundle_endpoint, provider.issued.own
            assert address is not None
            relay = relays[own.trust_domain] = Relay(address)
            await relay.open()
            stack.callback(relay.close)
            (folder / f"{own.trust_domain}.json").write_bytes(own.to_json())
        a.federate(relationship(folder, B, relays[B]))
        b.federate(relationship(folder, A, relays[A]))
        await a.until(lambda issued: B in issued.foreign)
        await b.until(lambda issued: A in issued.foreign)
        server = await stack.enter_async_context(serving_mcp(LIVE))
        site = Site(folder, server=DESK, peers=(PLANNER, LOCAL))
        site.sign_manifest(DESK)
        site.write_policy()
        config = site.ingress_config(b.address, server.url)
        ingress = await stack.enter_async_context(running_agent(config))
        assert isinstance(ingress.ingress, Address)
        config = site.egress_config(a.address, str(ingress.ingress), PLANNER, DESK)
        if probe is not None:
            _add_route(config, {"name": "probe", "spiffe_id": str(PROBE), "address": str(probe)})
        egress = await stack.enter_async_context(running_agent(config))
        assert isinstance(egress.egress, Address)
        client = Plain(egress.egress)
        stack.callback(client.close)
        yield FederatedMesh(
            folder=folder,
            a=a,
            b=b,
            relays=relays,
            server=server,
            ingress=ingress.ingress,
            client=client,
            site=site,
        )


def _add_route(config: Path, route: dict[str, Any]) -> None:
    document = yaml.safe_load(config.read_text())
    document["egress"]["servers"].append(route)
    config.write_text(yaml.safe_dump(document, sort_keys=False))
