"""The link to a SPIFFE broker: gRPC channels at whose end both sides have proved their SPIFFE IDs.

Enters: the agent's own identity, as it rotates, and who the broker may be. Leaves: channels, for
`identity.sources.broker`. A connection is made with the newest SVID; when that rotates, whoever begins from
then on gets a new connection, and the old one ends with the last stream on it, within one refresh. When the
identity is withdrawn, every connection is cut at once.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import grpc

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.identity.sources.channel import SharedChannel, checked_address
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.tls.context import TlsIdentity
from spiffe_mcp.tls.relay import TlsRelay
from spiffe_mcp.tls.session import TlsSession

_PROTOCOLS: Final = ("h2",)  # ALPN: gRPC servers refuse a client that does not offer it


class RelayedBrokerLink:
    """The `BrokerLink` to the Unix socket `unix:///path` at `socket`, by way of a `TlsRelay`.

    `own` is where this agent's identity comes from; `server` is who the broker may be (SPIRE shows the ID of
    its agent, `/spire/agent/...`). The relay's private socket is made below `directory`.
    """

    def __init__(
        self,
        socket: str,
        own: IdentitySource,
        *,
        server: AllowedIds,
        clock: Callable[[], datetime],
        directory: Path | None = None,
    ) -> None:
        target = Path(checked_address(socket, Reason.BROKER_ADDRESS).removeprefix("unix://"))
        self._own = own
        self._server = server
        self._clock = clock
        self._directory = directory
        self._relay = TlsRelay(target, self._session)
        self._tls: TlsIdentity | None = None
        self._shared: SharedChannel | None = None

    @property
    def trouble(self) -> str:
        """Why the newest connection could not be made or broke; empty if it did not."""
        return self._relay.trouble

    async def run(self) -> None:
        """Relay, with the newest SVID, until cancelled."""
        async with self._relay.listening(self._directory) as path:
            shared = self._shared = SharedChannel(f"unix://{path}")
            try:
                async for state in self._own.states():
                    await shared.renew()
                    if state is None:
                        self._relay.cut()
            finally:
                self._shared = None
                await shared.renew()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """As `BrokerLink` says."""
        if self._own.current is None or self._shared is None:
            raise Refused(Reason.BROKER_NO_IDENTITY)
        async with self._shared.use() as channel:
            yield channel

    def _session(self) -> TlsSession:
        """The client's end of a connection with the newest SVID; one that has expired is not shown."""
        state = self._own.current
        if state is None or not state.valid_at(self._clock()):
            raise Refused(Reason.BROKER_NO_IDENTITY)
        if self._tls is None or self._tls.state is not state:
            self._tls = TlsIdentity(state, self._clock, _PROTOCOLS)
        return self._tls.connect_to(self._server)
