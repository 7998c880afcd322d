"""What the suite is run against: two agents of ours, a plain pass-through, and any other by its URL.

    async with two_agents(folder) as bench: ...
    async with plain() as bench: ...
    async with foreign(Foreign(url, other_url, listen, offers)) as bench: ...

Only here is anything known of what stands between client and server.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spiffe_mcp.mesh.addresses import Address
from tests.fakes.mesh import PLANNER, REVIEWER, SERVER, Site, provider_at, running_agent
from tests.intermediary.catalogue import EXPOSED, POLICY_HIDES, REFUSAL, SIGNED
from tests.intermediary.check import Bench, Need
from tests.intermediary.client import Client
from tests.intermediary.passthrough import pass_through
from tests.intermediary.upstream import ScriptedUpstream, serving

_CALLABLE: Final = ", ".join(f'"{tool["name"]}"' for tool in SIGNED if tool["name"] not in ("hidden", "pay"))
POLICY: Final = f"""
package mcp.authz

import rego.v1

default decision := {{"allow": false, "rule": "default", "reason": "nothing grants this"}}

decision := {{"allow": true, "rule": "protocol", "reason": "part of the protocol"}} if {{
	input.action != "tools/call"
}}

decision := {{"allow": true, "rule": "tools", "reason": "granted to everybody"}} if {{
	input.action == "tools/call"
	input.tool.name in {{{_CALLABLE}}}
}}

decision := {{"allow": false, "rule": "pay", "visibility": "offered", "message": "{REFUSAL}"}} if {{
	input.tool.name == "pay"
}}

visible_tools contains tool.name if {{
	some tool in input.tools
	tool.name != "{POLICY_HIDES}"
}}
"""
RECHECK: Final = 1  # second


@dataclass(frozen=True, slots=True)
class Foreign:
    """A proxy that somebody else runs."""

    url: str
    listen: Address  # where it expects its server
    other_url: str | None = None
    offers: frozenset[Need] = frozenset()
    drift: float = 30.0


@asynccontextmanager
async def two_agents(folder: Path) -> AsyncIterator[Bench]:
    """An egress for each of two callers, and one ingress, from configuration files."""
    site = Site(folder, recheck=RECHECK)
    site.sign_manifest(tools=SIGNED)
    site.write_policy(POLICY)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serving())
        provider = await stack.enter_async_context(provider_at(folder))
        config = site.ingress_config(provider.address, upstream.url)
        ingress = await stack.enter_async_context(running_agent(config))
        clients: list[Client] = []
        for identity in (PLANNER, REVIEWER):
            config = site.egress_config(provider.address, str(ingress.ingress), identity, SERVER)
            egress = await stack.enter_async_context(running_agent(config))
            clients.append(Client(f"http://{egress.egress}/desk/mcp"))

        def written() -> bytes:
            return b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))

        yield Bench(clients[0], upstream, clients[1], frozenset(Need), 5.0, written)


@asynccontextmanager
async def plain() -> AsyncIterator[Bench]:
    """The proxy that has to fail. It is told nothing, and asked everything."""
    async with serving() as upstream, pass_through(upstream.port) as url:
        yield Bench(Client(url), upstream, Client(url), frozenset(Need))


@asynccontextmanager
async def foreign(proxy: Foreign) -> AsyncIterator[Bench]:
    """A proxy that runs already; the suite takes the place of its server."""
    async with serving(proxy.listen.host, proxy.listen.port) as upstream:
        other = None if proxy.other_url is None else Client(proxy.other_url)
        yield Bench(Client(proxy.url), upstream, other, proxy.offers, proxy.drift)


def from_environment(environment: "os._Environ[str]" = os.environ) -> Foreign | None:
    """The proxy that `INTERMEDIARY_*` name; None if they name none."""
    url = environment.get("INTERMEDIARY_URL")
    if url is None:
        return None
    other = environment.get("INTERMEDIARY_OTHER_URL")
    named = [name for name in environment.get("INTERMEDIARY_OFFERS", "").upper().split(",") if name]
    offers = frozenset(Need[name] for name in named) | ({Need.IDENTITIES} if other else set())
    return Foreign(url, Address.parse(environment["INTERMEDIARY_LISTEN"]), other, offers)


__all__ = ["EXPOSED", "Foreign", "ScriptedUpstream", "foreign", "from_environment", "plain", "two_agents"]
