"""Where the agent's egress is, and a connection to it.

Only the opening is tried again, for a while, because nothing has been said yet: a desktop starts its clients
before its agents as often as not.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.tcp import open_tcp

PATIENCE: Final = 5.0  # seconds for an agent that is not there (yet)
_LONGEST_WAIT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Egress:
    """An agent's egress: a Unix socket, or a TCP address."""

    address: Address | Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """`unix:/path` or `host:port`, as the agent's configuration spells it; raises ValueError."""
        if text.startswith("unix:/"):
            return cls(Path(text.removeprefix("unix:")))
        return cls(Address.parse(text))

    @property
    def host(self) -> bytes:
        """The `Host` of a request: over a Unix socket there is only this machine."""
        return b"localhost" if isinstance(self.address, Path) else str(self.address).encode()

    async def connect(self, patience: float = PATIENCE) -> ClientConnection:
        """A connection; raises `Refused(UPSTREAM_UNREACHABLE)` when there was none for `patience` seconds."""
        attempts = AsyncRetrying(
            retry=retry_if_exception(_is_unreachable),
            wait=wait_random_exponential(multiplier=0.05, max=_LONGEST_WAIT),
            stop=stop_after_delay(patience),
            reraise=True,
        )
        return await attempts(self._open)

    async def _open(self) -> ClientConnection:
        if isinstance(self.address, Address):
            return await open_tcp(self.address, ClientConnection)
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(ClientConnection, str(self.address))
        except OSError as error:
            raise Refused(Reason.UPSTREAM_UNREACHABLE, f"{self.address}: {error.strerror}") from None
        return connection


def _is_unreachable(error: BaseException) -> bool:
    return isinstance(error, Refused) and error.reason is Reason.UPSTREAM_UNREACHABLE
