"""Hops: pooled mutual-TLS connections, one pool for each (local SVID, server SPIFFE ID, address).

A pooled connection has proved which server it leads to, with which SVID of ours; a request is sent only on
one whose proof is the one it needs. When the SVID rotates, its pools are retired: requests that are running
end in their own time, new ones handshake anew.
"""

import asyncio
from dataclasses import dataclass

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import HttpClient, Response
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.egress import OutboundCall
from spiffe_mcp.mesh.routes import Address
from spiffe_mcp.mesh.tcp import open_tcp
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol


@dataclass(frozen=True, slots=True)
class _Key:
    local: TlsIdentity
    server: SpiffeId
    address: Address


class Hops:
    """All pools of one egress."""

    def __init__(self) -> None:
        self._pools: dict[_Key, HttpClient] = {}

    async def send(self, call: OutboundCall) -> Response:
        """Send the permitted call; raises `Refused` with why the hop could not be made."""
        key = _Key(call.snapshot.tls, call.route.server, call.route.address)
        pool = self._pools.get(key)
        if pool is None:
            self._retire_others(key.local)
            pool = self._pools[key] = HttpClient(lambda: _connect(key))
        return await pool.send(call.request)

    def close(self) -> None:
        """End all idle connections and keep no new ones."""
        for pool in self._pools.values():
            pool.retire()
        self._pools.clear()

    def _retire_others(self, current: TlsIdentity) -> None:
        for key in [key for key in self._pools if key.local is not current]:
            self._pools.pop(key).retire()


async def _connect(key: _Key) -> ClientConnection:
    """A connection whose server has proved to be `key.server`."""
    loop = asyncio.get_running_loop()
    secured: asyncio.Future[ClientConnection] = loop.create_future()

    def on_secured(_: Peer) -> ClientConnection:
        connection = ClientConnection()
        if not secured.done():
            secured.set_result(connection)
        return connection

    def on_refused(_: object, refused: Refused) -> None:
        if not secured.done():
            secured.set_exception(refused)

    def protocol() -> TlsProtocol:
        return TlsProtocol(key.local.connect(key.server), on_secured=on_secured, on_refused=on_refused)

    hop = await open_tcp(key.address, protocol)
    try:
        return await secured
    except asyncio.CancelledError:
        hop.abort()
        raise
