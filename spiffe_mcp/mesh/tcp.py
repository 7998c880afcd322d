"""Opening a TCP connection, with a bound on the wait and one way to fail."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_TIMEOUT: Final = 10.0  # seconds


@asynccontextmanager
async def opening(what: str) -> AsyncIterator[None]:
    """A connection is made inside; raises `Refused(UPSTREAM_UNREACHABLE)` with `what`, or TLS's own error."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            yield
    except ssl.SSLError:
        raise  # somebody is there, and is not who was looked for
    except (OSError, TimeoutError) as error:
        raise Refused(Reason.UPSTREAM_UNREACHABLE, f"{what}: {type(error).__name__}") from None


async def open_tcp(address: Address, protocol: Callable[[], P]) -> P:
    """The protocol on an open connection to `address`; raises `Refused(UPSTREAM_UNREACHABLE)`."""
    loop = asyncio.get_running_loop()
    async with opening(str(address)):
        _, connected = await loop.create_connection(protocol, address.host, address.port)
    return connected
