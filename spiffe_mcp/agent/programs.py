"""The programs of an agent's configuration, behind bridges: a configuration in, one without programs out.

What stands before an MCP server knows HTTP and nothing else. So every `stdio` upstream is replaced, before
anything is built, by the Unix socket of its bridge. Whoever runs workers does this once, in the process that
starts them: a process of a server has one parent.
"""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from spiffe_mcp.agent.config import AgentConfig, IngressConfig, ServerConfig
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.routes import ServerName
from spiffe_mcp.mesh.stdio import Program, bridging
from spiffe_mcp.mesh.targets import UnixUpstream


class _Place(NamedTuple):
    """A program where it is used: two ingresses, which have two identities, never share its processes."""

    ingress: int
    server: ServerName
    program: Program


class Bridges:
    """The bridges that an agent has, for as long as it runs."""

    def __init__(self, known: Mapping[_Place, UnixUpstream]) -> None:
        self._known: Final = known

    def before(self, config: AgentConfig) -> AgentConfig:
        """`config` with a bridge in place of each program.

        Raises `Refused(RELOAD_NEEDS_RESTART)` for a program that the agent was not started with.
        """
        parts = enumerate(config.ingresses)
        return replace(config, ingresses=tuple(self._ingress(number, part) for number, part in parts))

    def _ingress(self, number: int, part: IngressConfig) -> IngressConfig:
        return replace(part, servers=tuple(self._server(number, server) for server in part.servers))

    def _server(self, number: int, server: ServerConfig) -> ServerConfig:
        if not isinstance(server.upstream, Program):
            return server
        bridge = self._known.get(_Place(number, server.name, server.upstream))
        if bridge is None:
            raise Refused(Reason.RELOAD_NEEDS_RESTART, f"the program of '{server.name}'")
        return replace(server, upstream=bridge)


@asynccontextmanager
async def bridged(config: AgentConfig) -> AsyncIterator[Bridges]:
    """A bridge before each program of `config` while inside; raises `Refused(LISTEN_FAILED)`.

    No process is started before somebody calls it.
    """
    places = _places(config)
    if not places:
        yield Bridges({})
        return
    async with AsyncExitStack() as stack:
        # Mode 0700, and a path that is short enough for a socket (unix(7)) wherever the configuration is.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spiffe-mcp-")))
        known = {}
        for number, place in enumerate(places):
            bridge = bridging(
                str(place.server), place.program, folder / f"{number}.sock", os.environ, _new_id
            )
            known[place] = await stack.enter_async_context(bridge)
        yield Bridges(known)


def _places(config: AgentConfig) -> list[_Place]:
    return [
        _Place(number, server.name, server.upstream)
        for number, part in enumerate(config.ingresses)
        for server in part.servers
        if isinstance(server.upstream, Program)
    ]


def _new_id() -> bytes:
    return secrets.token_hex(16).encode()
