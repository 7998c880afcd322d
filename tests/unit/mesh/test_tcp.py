"""Dialling succeeds, or is refused in one way."""

import asyncio
import socket
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh import tcp
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.tcp import open_tcp


class Dialler(asyncio.Protocol):
    """Remembers that it was connected."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


async def refusal(address: Address) -> Refused:
    with pytest.raises(Refused) as caught:
        await open_tcp(address, Dialler)
    assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
    return caught.value


async def test_the_protocol_is_connected_when_it_is_handed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialler = await open_tcp(Address(*server.getsockname()), Dialler)
        assert dialler.transport.get_extra_info("peername") == server.getsockname()
        dialler.transport.abort()
        await asyncio.sleep(0)


async def test_nobody_there_is_a_refusal_that_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(*server.getsockname())
    assert (await refusal(address)).detail == f"{address}: ConnectionRefusedError"


async def test_a_name_that_does_not_resolve_is_a_refusal() -> None:
    await refusal(Address("no-such-host.invalid", 80))


async def test_a_peer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of one that is full: the kernel lets the next one wait."""
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first:
        first.connect(server.getsockname())
        with socket.socket() as second:
            second.settimeout(0)
            second.connect_ex(server.getsockname())
            assert (await refusal(Address(*server.getsockname()))).detail.endswith("TimeoutError")
