"""A server is told beside its stream, a few times at once, and nobody waits for what it says to that."""

import asyncio
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Request
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.declining import MOST, Declining

DECLINED = Declined.granted(
    request=Request(b"POST", b"/mcp", (), b"{}"), method="ping", refused=Refused(Reason.POLICY_DENIED)
)


class Server:
    """Takes what it is told, when it is let."""

    def __init__(self) -> None:
        self.told: list[Declined] = []
        self.release = asyncio.Event()
        self.done = asyncio.Event()

    async def send(self, declined: Declined) -> Any:
        self.told.append(declined)
        try:
            await self.release.wait()
        finally:
            self.done.set()
        raise Refused(Reason.UPSTREAM_UNREACHABLE)


async def test_it_is_told_and_what_goes_wrong_is_nobodys_business() -> None:
    server = Server()
    declining = Declining(server.send)
    declining.begin(DECLINED)
    server.release.set()
    await server.done.wait()
    assert server.told == [DECLINED]


async def test_one_that_asks_on_and_on_is_not_told_for_ever() -> None:
    server = Server()
    declining = Declining(server.send)
    for _ in range(MOST):
        declining.begin(DECLINED)
    with pytest.raises(Refused) as caught:
        declining.begin(DECLINED)
    assert caught.value.reason is Reason.MCP_SERVER_REQUESTS_FULL
    declining.close()


async def test_closing_gives_up_what_is_under_way() -> None:
    server = Server()
    declining = Declining(server.send)
    declining.begin(DECLINED)
    await asyncio.sleep(0)
    declining.close()
    await server.done.wait()
    assert not server.release.is_set()
