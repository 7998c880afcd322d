"""Opening connections to an MCP server, in the way that its target says.

A server on this node is spoken to in clear. One elsewhere has to prove its name by a certificate of an
ordinary authority: the name of the URL, TLS 1.2 or newer, and HTTP/1.1 by ALPN (RFC 7301), which is all that
is spoken here. Nothing of the agent's own identity is shown to it: it is no member of the mesh.
"""

import asyncio
import ssl
from functools import partial
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Connector
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.targets import Target, Trust, UnixUpstream
from spiffe_mcp.mesh.tcp import CONNECT_TIMEOUT, open_tcp, opening

_ALPN: Final = "http/1.1"


def connector(target: Target) -> Connector:
    """What opens a connection to `target`; raises `Refused(CONFIG_INVALID)` for authorities it cannot load.

    What it returns raises `Refused`: UPSTREAM_UNREACHABLE, UPSTREAM_UNTRUSTED.
    """
    if isinstance(target, UnixUpstream):
        return partial(_open_unix, target)
    if target.trust is None:
        return partial(open_tcp, target.address, ClientConnection)
    return partial(_open_tls, target.address, client_context(target.trust))


def is_tls(target: Target) -> bool:
    """Whether the server at `target` has to prove its name."""
    return not isinstance(target, UnixUpstream) and target.trust is not None


def client_context(trust: Trust) -> ssl.SSLContext:
    """The context that checks a server against `trust`; raises `Refused(CONFIG_INVALID)`."""
    try:
        context = ssl.create_default_context(cafile=trust.ca_file)
    except (OSError, ssl.SSLError) as error:
        what = error.strerror or type(error).__name__
        raise Refused(Reason.CONFIG_INVALID, f"{trust.ca_file}: {what}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([_ALPN])
    return context


async def _open_unix(target: UnixUpstream) -> ClientConnection:
    loop = asyncio.get_running_loop()
    async with opening(str(target.socket)):
        _, connected = await loop.create_unix_connection(ClientConnection, str(target.socket))
    return connected


async def _open_tls(address: Address, context: ssl.SSLContext) -> ClientConnection:
    loop = asyncio.get_running_loop()
    try:
        async with opening(str(address)):
            transport, connected = await loop.create_connection(
                ClientConnection,
                address.host,
                address.port,
                ssl=context,
                ssl_handshake_timeout=CONNECT_TIMEOUT,
            )
    except ssl.SSLCertVerificationError as error:
        raise Refused(Reason.UPSTREAM_UNTRUSTED, f"{address}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Refused(Reason.UPSTREAM_UNTRUSTED, f"{address}: {error.reason}") from None
    # A server that does not know ALPN chooses nothing, and speaks HTTP/1.1 as it always did.
    if transport.get_extra_info("ssl_object").selected_alpn_protocol() not in (None, _ALPN):
        transport.abort()
        raise Refused(Reason.UPSTREAM_UNTRUSTED, f"{address}: another protocol by ALPN")
    return connected
