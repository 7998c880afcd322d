"""Opening a TCP connection, with a bound on the wait and one way to fail."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.routes import Address

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_TIMEOUT: Final = 10.0  # seconds


async def open_tcp(address: Address, protocol: Callable[[], P]) -> P:
    """The protocol on an open connection to `address`; raises `Refused(UPSTREAM_UNREACHABLE)`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, connected = await loop.create_connection(protocol, address.host, address.port)
    except (OSError, TimeoutError) as error:
        raise Refused(Reason.UPSTREAM_UNREACHABLE, f"{address}: {type(error).__name__}") from None
    return connected
